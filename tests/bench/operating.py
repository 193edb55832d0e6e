"""The operator at scale, on a real API server: its start, what statuses cost, and how soon they follow pods.

A ledger is filled with the made-up history. The operator starts on it, with servers that run, and with nothing left to
write; then pods are placed, and end, at a steady rate; then a policy that holds for everybody is edited. By the real
clock, on each database.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from hubquota.cluster.leases import HEARTBEAT, REFLECTS
from tests.bench.filling import NAMESPACE, fill
from tests.bench.history import Hub
from tests.bench.loading import Delays, Load, latest
from tests.bench.policies import EVERYONE, calendar, pool, rolling, spec
from tests.bench.serving import at, busy, cluster, cpu, made, memory, placed
from tests.cluster.test_operator import Bench
from tests.testbed.control_plane import ControlPlane
from tests.testbed.processes import Program
from tests.testbed.rest import Json, Rest
from tests.testbed.terms import SHIPPED

T = TypeVar("T")
_OURS: Final = f"/apis/hubquota.dev/v1alpha1/namespaces/{NAMESPACE}"
_POLICIES: Final = (
    spec("memory-7d", "memory", "GiB-hours", rolling("7d"), 1000),
    spec("cpu-30d", "cpu", "CPU-hours", rolling("30d"), 1000),
    spec("memory-month", "memory", "GiB-hours", calendar("Month", "Europe/Berlin"), 4000),
    pool("everyone-30d", "memory", "TiB-hours", rolling("30d"), EVERYONE, 100_000),
)
#: Servers that run, of as many users.
_RUNNING: Final = 3000
#: Seconds that a start may take.
_LONGEST: Final = 900
#: Changes of pods a second, each of which is two events (made and placed, or finished and deleted), and for how long.
_RATE: Final = 50
_SHORT: Final = 30
_LONG: Final = 180


def run(hub: Hub) -> bool:
    """Print what was measured, on each database."""
    hub = replace(hub, until=int(time.time()) - 60)
    for database in ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory(prefix="hubquota-bench-") as name, placed(database, Path(name)) as its:
            _on(database, its.url, Path(name), hub)
    return True


def _on(database: str, url: str, folder: Path, hub: Hub) -> None:
    pods, seconds = _timed(lambda: asyncio.run(fill(url, hub)))
    print(f"operating on {database}: {hub.users:,} users, {pods:,} pods in the ledger (written in {seconds:.0f} s)")
    with cluster(folder) as api:
        _operate(api, Bench(api, NAMESPACE, folder, url), hub)


def _operate(api: ControlPlane, bench: Bench, hub: Hub) -> None:
    for policy in _POLICIES:
        bench.create(made(policy))
    operator = bench.operator(terms=SHIPPED)
    load = Load(api.kubeconfig, hub)
    try:
        _started(bench, operator, "first start: every UserQuota made and told")
        _told(api, asyncio.run(_sizes(api)))
        operator.stop(30)
        asyncio.run(load.run_already(_RUNNING))
        _started(bench, operator, f"second start: {_RUNNING:,} servers run that the ledger does not know")
        operator.stop(30)
        _started(bench, operator, "third start: nothing left to write")
        for what, work, seconds in (
            (f"{_RATE} pods placed a second", load.place(_RATE, _SHORT), _SHORT),
            (f"{_RATE} pods placed or ended a second", load.turn_over(_RATE // 2, _LONG), _LONG),
        ):
            _measured(operator, what, work, seconds)
        asyncio.run(_edit(api, bench))
    finally:
        operator.stop(30)


def _measured(operator: Program, what: str, work: "Coroutine[Any, Any, Delays]", seconds: int) -> None:
    before, since = cpu(operator), busy()
    found = asyncio.run(work)
    taken = (cpu(operator) - before) / seconds
    of_all = (busy()[0] - since[0]) / (busy()[1] - since[1])
    print(f"  {what}, {2 * _RATE} events a second, for {seconds} s: {memory(operator)} MiB at most")
    print(f"    CPU: the operator {taken:.0%} of a core, all together {of_all:.0%} of all cores")
    for name, delays in found.items():
        print(f"    {name}: p50 {at(delays, 50):.0f} ms, p99 {at(delays, 99):.0f} ms, of {len(delays):,}")


def _started(bench: Bench, operator: Program, what: str) -> None:
    said = operator.last_words(10**6).count("is served")
    began = time.monotonic()
    operator.start()
    operator.ready(lambda: operator.last_words(10**6).count("is served") > said, _LONGEST)
    served = time.monotonic() - began
    operator.ready(lambda: _has_compared(bench, operator), _LONGEST)
    settled, most = time.monotonic() - began, memory(operator)
    print(f"  {what}: {served:.1f} s to the heartbeat, {settled:.0f} s until all is compared; {most} MiB at most")


def _has_compared(bench: Bench, operator: Program) -> bool:
    """Whether its heartbeat, and no earlier operator's, says that all statuses reflect all policies."""
    lease = bench.read("lease", HEARTBEAT)
    ours = bool(lease) and str(lease["spec"].get("holderIdentity")).endswith(f"-{operator.pid}")
    return ours and REFLECTS in lease["metadata"].get("annotations", {})


async def _sizes(api: ControlPlane) -> list[int]:
    """Bytes of each UserQuota."""
    async with Rest(api.kubeconfig) as rest:
        page: Json = await rest.call("GET", f"{_OURS}/userquotas?limit=500")
        return [len(json.dumps(item)) for item in page["items"]]


def _told(api: ControlPlane, sizes: list[int]) -> None:
    print(f"  a UserQuota of {len(_POLICIES) - 1} quotas: {sum(sizes) / len(sizes) / 1024:.1f} KiB on average")


async def _edit(api: ControlPlane, bench: Bench) -> None:
    """Lower a limit for everybody; how soon those are told whom it stops, and all."""
    async with Rest(api.kubeconfig) as rest:
        users = [item async for item in _all(rest)]
        denied = {u["metadata"]["name"] for u in users if u["status"]["decision"] == "Denied"}
        free = [u for u in users if u["metadata"]["name"] not in denied]
        used = sorted(float(_quota(u, "memory-7d").get("used", "0")) for u in free)
        limit = str(int(used[int(len(used) * 0.95)]) + 1)
        version = await latest(rest)
        began = time.monotonic()
        bench.do("patch", "qp", "memory-7d", "--type=merge", "-p", json.dumps({"spec": {"limit": {"value": limit}}}))
        told: dict[str, float] = {}
        stopped: list[float] = []
        async for change in rest.watch(f"{_OURS}/userquotas", version):
            body = change["object"]
            if body.get("status") and _quota(body, "memory-7d").get("limit") == limit:
                name = body["metadata"]["name"]
                at = told.setdefault(name, time.monotonic() - began)
                if body["status"]["decision"] == "Denied" and name not in denied:
                    stopped.append(at)
            if len(told) == len(users):
                break
    rate = len(users) / max(told.values())
    print(
        f"  an edit that stops {len(stopped):,} of {len(users):,} users: they are told within {max(stopped):.1f} s, "
        f"all within {max(told.values()):.1f} s ({rate:.0f} statuses a second)"
    )


async def _all(rest: Rest) -> Any:  # noqa: ANN401 - an asynchronous iterator of JSON
    token = ""
    while True:
        page = await rest.call("GET", f"{_OURS}/userquotas?limit=500&continue={token}")
        for item in page["items"]:
            yield item
        token = page["metadata"].get("continue", "")
        if not token:
            return


def _quota(body: Json, name: str) -> Json:
    return next((q for q in body["status"].get("quotas", []) if q["name"] == name), {})


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    before = time.monotonic()
    return work(), time.monotonic() - before
