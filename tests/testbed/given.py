"""Control planes of which we hold a kubeconfig and nothing more: the caller's, and kind's."""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Final, TextIO

from tests.testbed.control_plane import NODE, ControlPlane, write_kubeconfig
from tests.testbed.processes import NotReady, Program

#: Of the same minor as the programs that are built elsewhere.
_KIND_IMAGE: Final = "kindest/node:v1.34.0"


class GivenControlPlane(ControlPlane):
    """The cluster of a kubeconfig, in its current context. Nothing is started or killed there.

    Ours come and go there: namespaces, and a Node that only says that it is ready. Our CRDs are applied and stay.
    """

    def __init__(self, given: str, kubectl: Path, folder: Path) -> None:
        super().__init__(folder, kubectl)
        self._given = given
        self._made: set[str] = set()
        command = [sys.executable, "-m", "tests.testbed.fake_node", str(self.kubeconfig)]
        self._node = Program("fake-node", command, folder / "fake-node.log", folder=Path(__file__).parents[2])

    def start(self) -> None:
        """Take over the kubeconfig and wait until the API answers. Raises NotReady with what to mend."""
        command = [str(self.kubectl_program), "config", "view", "--raw", "--minify", "--flatten", "-o", "json"]
        env = {**os.environ, "KUBECONFIG": self._given}
        told = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
        if told.returncode:
            raise NotReady(f"{self._given} is no kubeconfig with a current context: {told.stderr}")
        write_kubeconfig(self.kubeconfig, json.loads(told.stdout))
        self.wait(30)
        self._node.start()

    def stop(self) -> None:
        """Remove the namespaces and the Node that came from here."""
        self._node.stop(5)
        for name in sorted(self._made):
            self.end_namespace(name)
        self.kubectl("delete", "node", NODE, "--ignore-not-found", "--wait=false")
        self.kubectl("delete", "lease", NODE, "-n", "kube-node-lease", "--ignore-not-found", "--wait=false")

    def make_namespace(self, name: str) -> None:
        """A new namespace that takes pods, until stop(). Raises httpx.HTTPError if it is there already."""
        super().make_namespace(name)
        self._made.add(name)

    def end_namespace(self, name: str) -> None:
        """Delete a namespace that came from here."""
        super().end_namespace(name)
        self._made.discard(name)


class KindControlPlane(GivenControlPlane):
    """A cluster of kind's, in Docker, that stop() deletes.

    No test of ours has run it: that takes an image registry. Should this process be killed before stop(), the cluster
    stays: ``kind get clusters`` lists it.
    """

    def __init__(self, kubectl: Path, folder: Path, report: TextIO) -> None:
        self._name = f"hubquota-{secrets.token_hex(4)}"
        self._report = report
        super().__init__(str(folder / "kubeconfig-kind"), kubectl, folder)

    def start(self) -> None:
        """Create the cluster, which pulls an image of some 400 MB once. Raises NotReady with kind's words."""
        print(f"creating the kind cluster {self._name}; the first time it pulls {_KIND_IMAGE} ...", file=self._report)
        created = self._kind("create", "cluster", "--kubeconfig", self._given, "--image", _KIND_IMAGE, "--wait", "3m")
        if created.returncode:
            raise NotReady(f"kind could not create a cluster:\n{created.stderr[-2000:]}")
        super().start()

    def stop(self) -> None:
        """Delete the cluster."""
        self._node.stop(5)
        self._kind("delete", "cluster", "--kubeconfig", self._given)

    def _kind(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = ["kind", *args, "--name", self._name]
        return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
