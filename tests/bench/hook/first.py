"""300 users who never launched press Start at once, beside the real operator."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.bench.hook.limits import GROUP
from tests.bench.hook.statuses import hub_kubeconfig
from tests.bench.hook.workers import Launch, Round, Worker
from tests.bench.policies import EVERYONE, calendar, pool, rolling, spec
from tests.cluster.test_operator import Bench
from tests.testbed.control_plane import ControlPlane
from tests.testbed.processes import Program
from tests.testbed.terms import SHIPPED

NAMESPACE: Final = "first-launches"
#: Users who press Start at once.
USERS: Final = 300
#: Seconds for which a hook may tell of users behind their launches, and some.
_BEHIND: Final = 10
_PLAIN: Final = (
    spec("memory-7d", "memory", "GiB-hours", rolling("7d"), 1000),
    spec("cpu-30d", "cpu", "CPU-hours", rolling("30d"), 1000),
    spec("memory-month", "memory", "GiB-hours", calendar("Month", "Europe/Berlin"), 4000),
)
#: It could refuse even those who used nothing, so that they wait for the operator.
_POOL: Final = pool("everyone-30d", "memory", "TiB-hours", rolling("30d"), EVERYONE, 100_000)


class Opening(NamedTuple):
    """What came of a class's first launches. ``pool``: whether a Shared policy holds for them; ``told``: UserQuotas."""

    failover_open: bool
    pool: bool
    came: Round
    told: int

    @property
    def refused(self) -> int:
        """Launches."""
        return sum(bool(reason) for reason in self.came.reasons)

    @property
    def sound(self) -> bool:
        """Whether none was refused, none went on unjudged, and the operator was told of each."""
        return not (self.refused or self.came.unanswered) and self.told == len(self.came.seconds)


def openings(api: ControlPlane, folder: Path, users: int = USERS) -> list[Opening]:
    """New classes one after the other, open and closed; first where no pool could refuse them, then where one could."""
    folder.mkdir()
    api.make_namespace(NAMESPACE)
    bench = Bench(api, NAMESPACE, folder)
    found = list[Opening]()
    with _operating(bench) as operator:
        for policies in (_PLAIN, (_POOL,)):
            _apply(bench, operator, policies)
            for failover_open in (True, False):
                users_of = [f"new-{len(found)}-{n}" for n in range(users)]
                came, told = _class(bench, failover_open, users_of)
                found.append(Opening(failover_open, policies == (_POOL,), came, told))
    return found


def _class(bench: Bench, failover_open: bool, users: Sequence[str]) -> tuple[Round, int]:
    """What came of their launches, and for how many of them there is a UserQuota a moment later."""
    settings: dict[str, dict[str, Any]] = {
        "KubeSpawner": {"namespace": NAMESPACE, "mem_guarantee": "1G", "cpu_guarantee": 0.5},
        "HubQuota": {"failover_open": failover_open},
    }
    with Worker("hubquota", settings, hub_kubeconfig(bench.api, NAMESPACE), bench.folder / "hub.log") as worker:
        worker.play([Launch(f"{users[0]}-before", (GROUP,))], 1)  # for a hub is connected to its API server before nine
        came = worker.play([Launch(user, (GROUP,)) for user in users], len(users), fresh=False)
        deadline = time.monotonic() + _BEHIND
        while (told := _told(bench, users)) < len(users) and time.monotonic() < deadline:
            time.sleep(0.1)
        return came, told


def _told(bench: Bench, users: Sequence[str]) -> int:
    """Of how many users the operator was told."""
    return len({quota["spec"]["user"] for quota in bench.read("uq")["items"]} & set(users))


@contextmanager
def _operating(bench: Bench) -> Iterator[Program]:
    operator = bench.operator(terms=SHIPPED)
    operator.start()
    try:
        operator.ready(lambda: bool(bench.read("lease", "hubquota-heartbeat")))
        yield operator
        operator.ready(lambda: operator.running)  # else with its last words
    finally:
        operator.stop()


def _apply(bench: Bench, operator: Program, policies: Sequence[Any]) -> None:
    """Apply policies, and wait until the operator has said so."""
    for made in policies:
        body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "QuotaPolicy", "metadata": {"name": made["name"]}}
        bench.create(body | {"spec": {k: v for k, v in made.items() if k != "name"}})
    for made in policies:
        operator.ready(_applied(bench, made["name"]))
    if _POOL in policies:  # those who were there before are told of it first
        operator.ready(lambda: all(user["status"].get("pools") for user in bench.read("uq")["items"]))


def _applied(bench: Bench, name: str) -> Callable[[], bool]:
    return lambda: bool(bench.read("qp", name).get("status"))
