"""300 users who never launched press Start at once, beside the real operator."""

import json
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

NAMESPACE: Final = "first-launches"
#: Users who press Start at once.
USERS: Final = 300
_PLAIN: Final = (
    spec("memory-7d", "memory", "GiB-hours", rolling("7d"), 1000),
    spec("cpu-30d", "cpu", "CPU-hours", rolling("30d"), 1000),
    spec("memory-month", "memory", "GiB-hours", calendar("Month", "Europe/Berlin"), 4000),
)
#: It could refuse even those who used nothing, so that they wait for the operator.
_POOL: Final = pool("everyone-30d", "memory", "TiB-hours", rolling("30d"), EVERYONE, 100_000)


class Opening(NamedTuple):
    """What came of a class's first launches. ``pool``: whether a Shared policy holds for them."""

    failover_open: bool
    pool: bool
    came: Round

    @property
    def refused(self) -> int:
        """Launches."""
        return sum(bool(reason) for reason in self.came.reasons)

    @property
    def sound(self) -> bool:
        """Whether none was refused, and none went on unjudged."""
        return not (self.refused or self.came.unanswered)


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
                came = _class(api, folder, failover_open, [Launch(user, (GROUP,)) for user in users_of])
                found.append(Opening(failover_open, policies == (_POOL,), came))
    return found


def _class(api: ControlPlane, folder: Path, failover_open: bool, launches: Sequence[Launch]) -> Round:
    settings: dict[str, dict[str, Any]] = {
        "KubeSpawner": {"namespace": NAMESPACE, "mem_guarantee": "1G", "cpu_guarantee": 0.5},
        "HubQuota": {"failover_open": failover_open},
    }
    with Worker("hubquota", settings, hub_kubeconfig(api, NAMESPACE), folder / "hub.log") as worker:
        somebody = launches[0]._replace(user=f"{launches[0].user}-before")
        worker.play([somebody], 1)  # for a hub is connected to its API server before nine
        return worker.play(launches, len(launches), fresh=False)


@contextmanager
def _operating(bench: Bench) -> Iterator[Program]:
    operator = bench.operator(quick=False)
    operator.start()
    try:
        operator.ready(lambda: bool(_get(bench, "lease", "hubquota-heartbeat")))
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


def _applied(bench: Bench, name: str) -> Callable[[], bool]:
    return lambda: bool(_get(bench, "qp", name).get("status"))


def _get(bench: Bench, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bench.do("get", kind, name, "-o", "json", "--ignore-not-found") or "{}")
    return found
