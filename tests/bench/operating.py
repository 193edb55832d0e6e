"""The operator at scale, on a real API server: its start, what statuses cost, and how soon they follow pods.

A ledger is filled with the made-up history. The operator starts on it twice, the second time with nothing left to
write; then pods are placed at a steady rate; then a policy that holds for everybody is edited. By the real clock.
"""

import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any, Final, TypeVar

from tests.bench.filling import NAMESPACE, fill
from tests.bench.history import Hub
from tests.bench.policies import EVERYONE, calendar, pool, rolling, spec
from tests.cluster.test_operator import Bench
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import ROOT
from tests.testbed.processes import Program
from tests.testbed.providers import control_plane
from tests.testbed.rest import Json, Rest

T = TypeVar("T")
_MICROS: Final = 1_000_000
_OURS: Final = f"/apis/hubquota.dev/v1alpha1/namespaces/{NAMESPACE}"
_PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
_POLICIES: Final = (
    spec("memory-7d", "memory", "GiB-hours", rolling("7d"), 1000),
    spec("cpu-30d", "cpu", "CPU-hours", rolling("30d"), 1000),
    spec("memory-month", "memory", "GiB-hours", calendar("Month", "Europe/Berlin"), 4000),
    pool("everyone-30d", "memory", "TiB-hours", rolling("30d"), EVERYONE, 100_000),
)
#: Pods placed a second, each of which is two events (made, placed), and for how many seconds.
_RATE: Final = 50
_SECONDS: Final = 30


def run(hub: Hub) -> bool:
    """Print what was measured."""
    hub = replace(hub, until=int(time.time()) - 60)
    with tempfile.TemporaryDirectory(prefix="hubquota-bench-") as name:
        folder = Path(name)
        pods, seconds = _timed(lambda: asyncio.run(fill(f"sqlite:///{folder}/ledger.db", hub)))
        print(f"operating: {hub.users:,} users, {pods:,} pods in the ledger (written in {seconds:.0f} s)")
        api = control_plane(folder / "control-plane")
        try:
            api.start()
            api.apply(ROOT / "crds", NAMESPACE)
            _operate(api, folder, hub)
        finally:
            api.stop()
    return True


def _operate(api: ControlPlane, folder: Path, hub: Hub) -> None:
    bench = Bench(api, NAMESPACE, folder)
    for made in _POLICIES:
        body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "QuotaPolicy", "metadata": {"name": made["name"]}}
        bench.do("create", "-f", "-", body=body | {"spec": {k: v for k, v in made.items() if k != "name"}})
    operator = bench.operator()
    operator.env = {**operator.env, "HUBQUOTA_WRITER_LEASE_DURATION": "10", "HUBQUOTA_WRITER_RENEW_DEADLINE": "7"}
    try:
        _started(operator, "first start: every UserQuota made and told")
        _told(api, asyncio.run(_sizes(api)))
        operator.stop(30)
        _started(operator, "second start: nothing left to write")
        print(f"  memory at most {_memory(operator)} MiB")
        before = _cpu(operator)
        found = asyncio.run(_follow(api, hub))
        busy = (_cpu(operator) - before) / _SECONDS
        for what, delays in found.items():
            print(f"  {what}: p50 {_at(delays, 50):.0f} ms, p99 {_at(delays, 99):.0f} ms, of {len(delays):,}")
        print(
            f"  at {2 * _RATE} events a second the operator takes {busy:.0%} of a core; {_memory(operator)} MiB at most"
        )
        asyncio.run(_edit(api, bench))
    finally:
        operator.stop(30)


def _started(operator: Program, what: str) -> None:
    said = operator.last_words(10**6).count("is served")
    began = time.monotonic()
    operator.start()
    operator.ready(lambda: operator.last_words(10**6).count("is served") > said, 900)
    print(f"  {what}: {time.monotonic() - began:.1f} s to the heartbeat")


async def _sizes(api: ControlPlane) -> list[int]:
    """Bytes of each UserQuota."""
    async with Rest(api.kubeconfig) as rest:
        page: Json = await rest.call("GET", f"{_OURS}/userquotas?limit=500")
        return [len(json.dumps(item)) for item in page["items"]]


def _told(api: ControlPlane, sizes: list[int]) -> None:
    print(f"  a UserQuota of {len(_POLICIES) - 1} quotas: {sum(sizes) / len(sizes) / 1024:.1f} KiB on average")


async def _follow(api: ControlPlane, hub: Hub) -> dict[str, list[float]]:
    """Place pods at a steady rate; milliseconds from each placement to the user's status, and to the pool's."""
    placed: dict[str, float] = {}
    users: list[float] = []
    pools: list[float] = []
    async with Rest(api.kubeconfig) as rest, Rest(api.kubeconfig) as watcher:
        version = await _version(rest)
        watching = [
            asyncio.create_task(_watch_users(watcher, version, placed, users)),
            asyncio.create_task(_watch_pool(watcher, placed, pools)),
        ]
        await _place(rest, hub, placed)
        deadline = time.monotonic() + 30
        while len(users) < len(placed) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return {"placement to the user's status": users, "placement to the pool's": pools}


async def _place(rest: Rest, hub: Hub, placed: dict[str, float]) -> None:
    luck, members = random.Random(1), hub.members()
    began = time.monotonic()
    tasks = set()
    for n in range(_RATE * _SECONDS):
        await asyncio.sleep(max(0, began + n / _RATE - time.monotonic()))
        tasks.add(asyncio.create_task(_one(rest, f"bench-{n}", luck.choice(members).name, placed)))
    await asyncio.gather(*tasks)


async def _one(rest: Rest, name: str, user: str, placed: dict[str, float]) -> None:
    meta = {"name": name, "annotations": {"hub.jupyter.org/username": user}}
    container = {"name": "notebook", "image": "i", "resources": {"requests": {"memory": "1Gi", "cpu": "500m"}}}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}
    await rest.call("POST", _PODS, body)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}
    await rest.status(f"{_PODS}/{name}", {"phase": "Running", "conditions": [condition]})
    placed[name] = time.monotonic()


async def _version(rest: Rest) -> str:
    """From which to watch UserQuotas."""
    page: Json = await rest.call("GET", f"{_OURS}/userquotas?limit=1")
    return str(page["metadata"]["resourceVersion"])


async def _watch_users(rest: Rest, version: str, placed: dict[str, float], delays: list[float]) -> None:
    seen: set[str] = set()
    async for change in rest.watch(f"{_OURS}/userquotas", version):
        for pod in change["object"].get("status", {}).get("running", []):
            if pod["pod"] in placed and pod["pod"] not in seen:
                seen.add(pod["pod"])
                delays.append((time.monotonic() - placed[pod["pod"]]) * 1000)


async def _watch_pool(rest: Rest, placed: dict[str, float], delays: list[float]) -> None:
    """A pool's status tells no pod: it reflects those placed before it was made, as its rate of use shows."""
    base = None
    async for change in rest.watch(f"{_OURS}/quotapolicies"):
        pool = change["object"].get("status", {}).get("pool")
        if pool is None:
            continue
        running = float(pool["perHour"]) * 1024  # TiB an hour: each pod holds a GiB
        base = running if base is None else base
        waiting = sorted(placed.items(), key=lambda item: item[1])
        reflected = round(running - base)
        for _, at in waiting[len(delays) : reflected]:
            delays.append((time.monotonic() - at) * 1000)


async def _edit(api: ControlPlane, bench: Bench) -> None:
    """Lower a limit for everybody; how soon those are told whom it stops, and all."""
    async with Rest(api.kubeconfig) as rest:
        users = [item async for item in _all(rest)]
        denied = {u["metadata"]["name"] for u in users if u["status"]["decision"] == "Denied"}
        free = [u for u in users if u["metadata"]["name"] not in denied]
        used = sorted(float(_quota(u, "memory-7d").get("used", "0")) for u in free)
        limit = str(int(used[int(len(used) * 0.95)]) + 1)
        version = await _version(rest)
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


def _memory(program: Program) -> int:
    """The most memory that a program ever had, in MiB."""
    status = (Path("/proc") / str(program.pid) / "status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def _cpu(program: Program) -> float:
    """Seconds of CPU that a program has taken."""
    fields = (Path("/proc") / str(program.pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _at(delays: Iterable[float], percent: int) -> float:
    return quantiles(delays, n=100)[percent - 1]


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    before = time.monotonic()
    return work(), time.monotonic() - before
