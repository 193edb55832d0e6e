"""The parts of a storm: a control plane of its own, a fake kubelet, an operator that is started again when it ends."""

import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.storm.kills import Victim
from tests.storm.watching import Listings
from tests.testbed.binaries import Binaries
from tests.testbed.hub import ROOT
from tests.testbed.local import LocalControlPlane
from tests.testbed.manifests import operator_kubeconfig
from tests.testbed.processes import Program, free_port
from tests.testbed.rest import Rest
from tests.testbed.stage import policy

NAMESPACE: Final = "storm"
#: A policy that everybody has room in, so that each status tells a number.
_POLICY: Final = policy(
    "weekly",
    scope={"everyone": True},
    resource="memory",
    limit={"value": 1_000_000, "unit": "GiB-hours"},
    window={"rolling": "7d"},
)


#: Before a command: its first process has the id 1, as in a container.
_OWN_PIDS: Final = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


@dataclass(frozen=True, slots=True)
class Restart:
    """How an operator comes back. ``same``: in the same pod, as a kubelet restarts a container, so it is the same
    writer at once; else as a new pod, which waits for the Lease of the old one. ``terms``: of the Lease, in seconds.
    """

    same: bool
    terms: tuple[float, float, float]

    def command(self, *program: str) -> list[str]:
        """The command of a program that comes back so: in the same pod it has the same process id each time."""
        return [*(_OWN_PIDS if self.same else ()), *program]


IN_PLACE: Final = Restart(same=True, terms=(10, 7, 1))
NEW_POD: Final = Restart(same=False, terms=(3, 2, 0.3))


class Parts:
    """All processes. ``start`` and ``stop`` bring them up and down."""

    def __init__(self, binaries: Binaries, folder: Path, restart: Restart) -> None:
        self.folder = folder
        self.api = LocalControlPlane(binaries, folder / "control-plane")
        self.api.etcd.supervised = self.api.apiserver.supervised = True
        self.hub_log, self.kubelet_log = folder / "hub.jsonl", folder / "kubelet.jsonl"
        self.database = f"sqlite:///{folder}/ledger.db"
        self._restart, self._metrics = restart, free_port()
        self.listings = Listings(self._metrics)
        self.operator = Program("operator", [], folder / "operator.log", supervised=True)
        command = [sys.executable, "-m", "tests.testbed.fake_kubelet"]
        command += [str(self.api.kubeconfig), NAMESPACE, str(self.kubelet_log)]
        self.kubelet = Program("fake-kubelet", command, folder / "fake-kubelet.log", folder=ROOT, supervised=True)

    def start(self) -> None:
        """Start all, with the CRDs and a policy in place. Raises NotReady."""
        self.api.start()
        self.api.apply(ROOT / "crds", NAMESPACE)
        self._do("apply", "-f", "-", stdin=json.dumps(_POLICY))
        self.operator.command = self._restart.command(str(Path(sys.executable).with_name("hubquota")), "operator")
        self.operator.env = self.settings()
        self.kubelet.start()
        self.operator.start()

    def stop(self) -> None:
        """End all that runs."""
        for program in (self.operator, self.kubelet):
            program.kill()
        self.api.stop()

    def settings(self) -> dict[str, str]:
        """The operator's environment."""
        duration, deadline, retry = self._restart.terms
        return {
            "KUBECONFIG": str(operator_kubeconfig(self.api, NAMESPACE)),
            "HUBQUOTA_HUB_NAMESPACES": json.dumps([NAMESPACE]),
            "HUBQUOTA_OPERATOR_NAMESPACE": NAMESPACE,
            "HUBQUOTA_DATABASE_URL": self.database,
            "HUBQUOTA_RESYNC_INTERVAL": "5",
            "HUBQUOTA_METRICS_PORT": str(self._metrics),
            "HUBQUOTA_WRITER_LEASE_DURATION": str(duration),
            "HUBQUOTA_WRITER_RENEW_DEADLINE": str(deadline),
            "HUBQUOTA_WRITER_RETRY_PERIOD": str(retry),
        }

    def victims(self, rest: Rest) -> dict[str, Victim]:
        """What can be killed, by name."""
        return {
            "operator": Victim(self.operator, self._serves),
            "kube-apiserver": Victim(self.api.apiserver, lambda _: rest.ready()),
            "etcd": Victim(self.api.etcd, self._listens),
            "fake-kubelet": Victim(self.kubelet, _at_once),
        }

    async def _serves(self, since: float) -> bool:
        return self.listings.since(since)

    async def _listens(self, _: float) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.api.etcd_port), 1).close()
        except OSError:
            return False
        return True

    def _do(self, *args: str, stdin: str) -> None:
        done = self.api.kubectl("-n", NAMESPACE, *args, stdin=stdin)
        if done.returncode:
            raise RuntimeError(done.stderr)


async def _at_once(_: float) -> bool:
    return True
