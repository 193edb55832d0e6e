"""A namespace without an operator: tests say themselves what one would have written, and take away what hubs need."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from tests.cluster.test_caps import older_crd
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import HubRunner
from tests.testbed.line import Line
from tests.testbed.manifests import give_rights
from tests.testbed.objects import Objects
from tests.testbed.patience import until

Json = dict[str, Any]


@dataclass(frozen=True)
class Unattended:
    """``hubs``: by what a test calls them. ``line``: of all of them."""

    api: ControlPlane
    namespace: str
    line: Line
    hubs: dict[str, HubRunner] = field(default_factory=dict)

    def add(self, name: str, folder: Path, config: str, python: Path) -> None:
        """A hub more, not started yet, over the line."""
        hub = HubRunner(self.api, self.namespace, folder, config, python)
        over = self.line.kubeconfig(Path(hub.program.env["KUBECONFIG"]), folder / "kubeconfig")
        hub.program.env = {**hub.program.env, "KUBECONFIG": str(over)}
        self.hubs[name] = hub

    def beat(self, age: float = 0) -> None:
        """Write the operator's heartbeat, ``age`` seconds old."""
        when = (datetime.now(UTC) - timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lease: Json = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"renewTime": when}}
        self.apply(lease | {"metadata": {"name": "hubquota-heartbeat"}})

    def stop_beating(self) -> None:
        """There is no operator, and never was."""
        self._must("delete", "lease", "hubquota-heartbeat", "--ignore-not-found")

    def apply(self, *objects: Json) -> None:
        """Apply objects in the namespace. Raises httpx.HTTPError with the API server's words."""
        for body in objects:
            self._shows(self._objects.apply(body))

    def user_quota(self, user: str, status: Json) -> None:
        """Write what an operator says of a user, whose name is a plain one."""
        made: Json = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "metadata": {"name": user}}
        self.apply(made | {"spec": {"user": user, "groups": []}})
        self._shows(self._objects.patch("uq", user, {"status": status}, "status"))

    def has_pod(self, user: str) -> bool:
        """Whether the launch of a user went on."""
        return bool(self._objects.get("pod", f"jupyter-{user}"))

    @property
    def _objects(self) -> Objects:
        return self.api.objects(self.namespace)

    @contextmanager
    def without_rights(self) -> Iterator[None]:
        """The hub's service account has z2jh's rights alone."""
        self._must("delete", "rolebinding", "hubquota-hub")
        self._until(lambda: not self._may_read())
        try:
            yield
        finally:
            give_rights(self.api, self.namespace)
            self._until(self._may_read)

    @contextmanager
    def without_crds(self) -> Iterator[None]:
        """As if there were none; what was written stays."""
        self._serve(False)
        try:
            yield
        finally:
            self._serve(True)

    @contextmanager
    def without_schema(self) -> Iterator[None]:
        """Objects of any form are let through meanwhile, as those of another version are."""
        with older_crd(self.api):
            yield

    def _shows(self, made: Json) -> None:
        """Wait until an object is told as it is now to those who take what the watch cache has, as hooks do."""
        kind = {"QuotaPolicy": "qp", "UserQuota": "uq", "Lease": "lease"}[made["kind"]]

        def shows() -> bool:
            found = self._objects.cached(kind, made["metadata"]["name"]).get("metadata", {})
            return int(found.get("resourceVersion", "0")) >= int(made["metadata"]["resourceVersion"])

        self._until(shows)

    def _serve(self, served: bool) -> None:
        patch = json.dumps([{"op": "replace", "path": "/spec/versions/0/served", "value": served}])
        for plural in ("quotapolicies", "userquotas"):
            self._must("patch", "crd", f"{plural}.hubquota.dev", "--type=json", "-p", patch)
            path = f"/apis/hubquota.dev/v1alpha1/namespaces/{self.namespace}/{plural}"
            self._until(partial(self._is_served, path, served))

    def _is_served(self, path: str, served: bool) -> bool:
        return self.api.calls.answer("GET", path).is_success is served

    def _may_read(self) -> bool:
        rule = {"verbs": ["get"], "apiGroups": ["hubquota.dev"], "resources": ["userquotas"]}
        return self._objects.allows(f"system:serviceaccount:{self.namespace}:hub", rule)

    def _until(self, check: Callable[[], bool]) -> None:
        until(check, lambda: "the API server does not take it")

    def _must(self, *args: str) -> None:
        done = self.api.kubectl("-n", self.namespace, *args)
        if done.returncode:
            raise RuntimeError(done.stderr)
