"""The parts of a storm: a control plane of its own, a PostgreSQL where one is wanted, and all that each hub has."""

import asyncio
import json
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.storm.kills import Victim
from tests.storm.size import Database, Size, part_of
from tests.storm.watching import Listings
from tests.testbed.binaries import Binaries
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import ROOT
from tests.testbed.local import LocalControlPlane
from tests.testbed.manifests import operator_kubeconfig
from tests.testbed.postgres import Postgres
from tests.testbed.processes import Program, free_port
from tests.testbed.rest import Rest
from tests.testbed.stage import policy
from tests.testbed.terms import terms

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
#: Shorter than by default, but not so short that a busy machine makes it run out.
NEW_POD: Final = Restart(same=False, terms=(8, 6.5, 0.5))


class HubParts:
    """What one hub has of its own: a namespace, a fake kubelet, and an operator, started again when it ends."""

    def __init__(self, api: ControlPlane, namespace: str, folder: Path, restart: Restart) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.namespace, self.hub_log, self.kubelet_log = namespace, folder / "hub.jsonl", folder / "kubelet.jsonl"
        self.database = f"sqlite:///{folder}/ledger.db"
        self._api, self._restart, self._metrics = api, restart, free_port()
        self.listings = Listings(self._metrics)
        self.operator = Program("operator", [], folder / "operator.log", supervised=True)
        command = [sys.executable, "-m", "tests.testbed.fake_kubelet"]
        command += [str(api.kubeconfig), namespace, str(self.kubelet_log)]
        self.kubelet = Program("fake-kubelet", command, folder / "fake-kubelet.log", folder=ROOT, supervised=True)

    def start(self) -> None:
        """Start all, with a policy in place."""
        self._api.make_namespace(self.namespace)
        self._api.objects(self.namespace).apply(_POLICY)
        self.operator.command = self._restart.command(str(Path(sys.executable).with_name("hubquota")), "operator")
        self.operator.env = self._settings()
        self.kubelet.start()
        self.operator.start()

    def kill(self) -> None:
        """End all that runs."""
        for program in (self.operator, self.kubelet):
            program.kill()

    def victims(self) -> dict[str, Victim]:
        """What can be killed, by name."""
        return {
            part_of("operator", self.namespace): Victim(self.operator, self._serves),
            part_of("fake-kubelet", self.namespace): Victim(self.kubelet, _at_once),
        }

    def _settings(self) -> dict[str, str]:
        """The operator's environment."""
        return {
            **terms(*self._restart.terms),
            "KUBECONFIG": str(operator_kubeconfig(self._api, self.namespace)),
            "HUBQUOTA_HUB_NAMESPACES": json.dumps([self.namespace]),
            "HUBQUOTA_OPERATOR_NAMESPACE": self.namespace,
            "HUBQUOTA_DATABASE_URL": self.database,
            "HUBQUOTA_RESYNC_INTERVAL": "5",
            "HUBQUOTA_METRICS_PORT": str(self._metrics),
        }

    async def _serves(self, since: float) -> bool:
        return self.listings.since(since)


class Parts:
    """All processes of a storm. ``start`` and ``stop`` bring them up and down."""

    def __init__(self, binaries: Binaries, folder: Path, size: Size) -> None:
        self.api = LocalControlPlane(binaries, folder / "control-plane")
        self.api.etcd.supervised = self.api.apiserver.supervised = True
        self._postgres = Postgres(folder / "postgres") if Database.POSTGRESQL in size.databases else None
        # With an odd seed the first operator comes back as a new pod, and every second one after it.
        self.hubs = [
            HubParts(self.api, name, folder / name, NEW_POD if (size.seed + place) % 2 else IN_PLACE)
            for place, name in enumerate(size.hubs)
        ]
        self._databases = size.databases

    def start(self) -> None:
        """Start all, with the CRDs in place. Raises NotReady."""
        self.api.start()
        self.api.apply(ROOT / "crds")
        if self._postgres is not None:
            self._postgres.start()
            shared = self._postgres.database()
            for hub, database in zip(self.hubs, self._databases, strict=True):
                hub.database = shared if database is Database.POSTGRESQL else hub.database
        for hub in self.hubs:
            hub.start()

    def stop(self) -> None:
        """End all that runs, and delete what PostgreSQL had."""
        for hub in self.hubs:
            hub.kill()
        self.api.stop()
        if self._postgres is not None:
            self._postgres.remove()

    @property
    def programs(self) -> list[Program]:
        """All that is started again when it ends by itself."""
        own = [program for hub in self.hubs for program in (hub.operator, hub.kubelet)]
        return [*own, self.api.apiserver, self.api.etcd]

    def victims(self, rest: Rest) -> dict[str, Victim]:
        """What can be killed, by name."""
        found = {name: victim for hub in self.hubs for name, victim in hub.victims().items()}
        found["kube-apiserver"] = Victim(self.api.apiserver, lambda _: rest.ready())
        found["etcd"] = Victim(self.api.etcd, self._listens)
        if (server := self._postgres) is not None:
            found["postgres"] = Victim(server.program, lambda _: asyncio.to_thread(server.answers), server.kill)
        return found

    async def _listens(self, _: float) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.api.etcd_port), 1).close()
        except OSError:
            return False
        return True


async def _at_once(_: float) -> bool:
    return True
