"""Everything together, as demo, smoke and tests use it: control plane, fake kubelet, hub with our hook, operator."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.testbed.control_plane import ControlPlane
from tests.testbed.fake_kubelet import DO
from tests.testbed.hub import ROOT, HubRunner
from tests.testbed.manifests import operator_kubeconfig
from tests.testbed.objects import Objects
from tests.testbed.processes import Program
from tests.testbed.terms import LASTING
from tests.testbed.z2jh import hooked


class Stage:
    """One hub with all its parts in a folder, our hook in it as z2jh puts it there.

    ``extra``: lines of the hub's configuration, before the hook's; ``python``: whose JupyterHub; ``pull``: seconds that
    a pod takes from its placement until it runs.
    """

    def __init__(
        self,
        api: ControlPlane,
        namespace: str,
        folder: Path,
        extra: str = "",
        python: Path = Path(sys.executable),
        pull: float = 0,
    ) -> None:
        self.api, self.namespace, self.folder = api, namespace, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.truth = folder / "kubelet.jsonl"
        self.hub = HubRunner(api, namespace, folder / "hub", extra + hooked(folder), python)
        self.kubelet = self._python(
            "fake-kubelet", "-m", "tests.testbed.fake_kubelet", api.kubeconfig, namespace, self.truth, pull
        )
        env = {
            "KUBECONFIG": str(operator_kubeconfig(api, namespace)),
            "HUBQUOTA_HUB_NAMESPACES": json.dumps([namespace]),
            "HUBQUOTA_OPERATOR_NAMESPACE": namespace,
            "HUBQUOTA_DATABASE_URL": f"sqlite:///{folder}/ledger.db",
        }
        command = [str(Path(sys.executable).with_name("hubquota")), "operator"]
        self.operator = Program("operator", command, folder / "operator.log", {**env, **LASTING})

    def start(self) -> None:
        """Start all parts and wait until a launch can be judged. Raises NotReady."""
        self.kubelet.start()
        self.operator.start()
        self.hub.start()
        self.operator.ready(self._beats)

    def stop(self) -> None:
        """End all parts, what users see first."""
        for part in (self.hub.program, self.operator, self.kubelet):
            part.stop(15)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Apply objects in the hub's namespace. Raises httpx.HTTPError with the API server's words."""
        for body in objects:
            self._objects.apply(body)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """An object, by the names of kinds that kubectl takes; an empty one where it is not there."""
        return self._objects.get(kind, name)

    def table(self) -> str:
        """``kubectl get qp,uq`` as an admin sees it."""
        done = self.api.kubectl("-n", self.namespace, "get", "qp,uq")
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def do(self, pod: str, what: str) -> None:
        """Have the fake kubelet ``restart`` or ``finish`` a pod."""
        self._objects.patch("pod", pod, {"metadata": {"annotations": {DO: what}}})

    def _beats(self) -> bool:
        return bool(self.get("lease", "hubquota-heartbeat"))

    @property
    def _objects(self) -> Objects:
        return self.api.objects(self.namespace)

    def _python(self, name: str, *args: object) -> Program:
        command = [sys.executable, *map(str, args)]
        return Program(name, command, self.folder / f"{name}.log", folder=ROOT)


def policy(name: str, **spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any field
    """A QuotaPolicy to apply."""
    return {"apiVersion": "hubquota.dev/v1alpha1", "kind": "QuotaPolicy", "metadata": {"name": name}, "spec": spec}
