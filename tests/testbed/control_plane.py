"""A Kubernetes API as the tests use it, wherever it comes from (providers.py chooses)."""

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import httpx

from tests.testbed.objects import Calls, Objects
from tests.testbed.patience import PATIENCE
from tests.testbed.processes import NotReady

#: Of every fake kubelet: pods that name it as their scheduler are left alone by a real one.
NODE: Final = "hubquota-testbed"
_STEP: Final = 60
_DAY: Final = 86_400


class ControlPlane:
    """One cluster, in whose namespaces tests work. ``folder``: where its kubeconfigs and logs are.

    ``kubeconfig`` is an administrator's, has one context, and needs no other file.
    """

    #: Whether the namespace controller runs: without it a deleted namespace keeps what is in it, and stays.
    empties_namespaces: bool = True

    def __init__(self, folder: Path, kubectl: Path) -> None:
        self.folder, self.kubectl_program = folder, kubectl
        self.kubeconfig = folder / "kubeconfig-admin"
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """Where the API server listens."""
        found: str = self._config()["clusters"][0]["cluster"]["server"]
        return found

    def start(self) -> None:
        """Bring it up where that is ours to do, and wait until the API answers. Raises NotReady."""
        raise NotImplementedError

    def stop(self) -> None:
        """End what start() and the calls after it brought up, and nothing else."""
        raise NotImplementedError

    def wait(self, seconds: float = PATIENCE) -> None:
        """Wait until the API server says that it is ready. Raises NotReady with its words."""
        deadline = time.monotonic() + seconds
        while why := self._not_ready():
            if time.monotonic() > deadline:
                raise NotReady(f"the API server {self.url} was not ready after {seconds:.0f} s: {why}")
            time.sleep(0.1)

    @cached_property
    def calls(self) -> Calls:
        """The API, as the cluster's admin has it."""
        return Calls(self.kubeconfig)

    def objects(self, namespace: str) -> Objects:
        """Those of a namespace, as the cluster's admin has them."""
        return Objects(self.calls, namespace)

    def kubectl(self, *args: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the cluster's admin; the caller judges its exit code."""
        command = [str(self.kubectl_program), f"--kubeconfig={self.kubeconfig}", *args]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=_STEP, check=False)

    def apply(self, crds: Path, *namespaces: str) -> None:
        """Apply CRDs, wait until they are served, and make namespaces. Raises RuntimeError with kubectl's words."""
        self._must("apply", "--server-side", "--force-conflicts", "-f", str(crds))
        self._must("wait", "--for=condition=Established", "--timeout=30s", "-f", str(crds))
        for name in namespaces:
            self.make_namespace(name)

    @contextmanager
    def namespace(self) -> Iterator[str]:
        """One that is there as long as this lasts."""
        name = f"t-{secrets.token_hex(4)}"
        self.make_namespace(name)
        try:
            yield name
        finally:
            self.end_namespace(name)

    def make_namespace(self, name: str) -> None:
        """A new namespace that takes pods. Raises httpx.HTTPError if it is there already, for it is not ours then."""
        self.calls.call("POST", "/api/v1/namespaces", _object("Namespace", name))
        # Admission of pods may ask for it, and a controller that makes it need not run, or is late.
        self.objects(name).apply(_object("ServiceAccount", "default"))

    def end_namespace(self, name: str) -> None:
        """Delete a namespace with all that is in it, without waiting for its end where a controller sees to it."""
        answer = self.calls.answer("DELETE", f"/api/v1/namespaces/{name}")
        if answer.status_code != httpx.codes.NOT_FOUND:
            answer.raise_for_status()
        if not self.empties_namespaces:
            self._empty(name)

    def has_namespace(self, name: str) -> bool:
        """Whether a namespace is there, be it that it is going."""
        return self.calls.answer("GET", f"/api/v1/namespaces/{name}").is_success

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig with a real token of a service account, good for a day."""
        token = self.objects(namespace).token(service_account, _DAY)
        name = f"{namespace}-{service_account}"
        config = self._config()
        config["users"] = [{"name": name, "user": {"token": token}}]
        config["contexts"][0]["context"] |= {"user": name, "namespace": namespace}
        return write_kubeconfig(self.folder / f"kubeconfig-{name}", config)

    def _not_ready(self) -> str:
        """Why the API server is not; empty: it is."""
        try:
            answer = self.calls.answer("GET", "/readyz")
        except (OSError, httpx.TransportError) as fault:  # one that never ran has no certificate yet
            return f"{type(fault).__name__}: {fault}"
        return "" if answer.is_success else answer.text

    def _config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubeconfig.read_text())
        return found

    def _empty(self, namespace: str) -> None:
        """What the namespace controller does: delete what is in it, then let it go."""
        kinds = self._must("api-resources", "--namespaced", "--verbs=delete,list", "-o", "name").split()
        self._must("delete", ",".join(kinds), "--all", "-n", namespace, "--force", "--ignore-not-found")
        finalized = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}, "spec": {}}
        path = f"/api/v1/namespaces/{namespace}/finalize"
        self._must("replace", "--raw", path, "-f", "-", stdin=json.dumps(finalized))

    def _must(self, *args: str, stdin: str | None = None) -> str:
        done = self.kubectl(*args, stdin=stdin)
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(args)}: {done.stderr or done.stdout}")
        return done.stdout


def _object(kind: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


def write_kubeconfig(path: Path, config: dict[str, Any]) -> Path:
    """Write a kubeconfig that only we may read: it holds credentials."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(config, file)
    return path


def one_context(name: str, cluster: dict[str, Any], user: dict[str, Any]) -> dict[str, Any]:
    """A kubeconfig of one cluster and one user."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin", "namespace": "default"}}],
        "current-context": name,
    }
