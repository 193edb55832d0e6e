"""Pods that come and go at a steady rate, and how soon statuses tell of it."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.calling import Caller
from tests.bench.filling import NAMESPACE
from tests.bench.history import Hub
from tests.testbed.rest import Json, Rest

#: Milliseconds, by what they are from and to.
Delays = dict[str, list[float]]

_OURS: Final = f"/apis/hubquota.dev/v1alpha1/namespaces/{NAMESPACE}"
_PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
#: Calls under way at a time where there is no rate to keep.
_AT_ONCE: Final = 16
#: Seconds to wait for the last statuses.
_PATIENCE: Final = 60
#: Seconds that a pod lives in ``turn_over``.
_LIFE: Final = 10


class Load:
    """One namespace's pods. ``kubeconfig`` is an admin's."""

    def __init__(self, kubeconfig: Path, hub: Hub) -> None:
        self._kubeconfig, self._members, self._luck = kubeconfig, hub.members(), random.Random(1)
        self._count = 0
        #: When the API server is told that a pod is placed, and that it has ended, by its name and the monotonic clock:
        #: before it answers, for a status may be there sooner than its answer.
        self._placed: dict[str, float] = {}
        self._ended: dict[str, float] = {}

    async def run_already(self, pods: int) -> None:
        """Place so many pods, as quickly as can be."""
        slots = asyncio.Semaphore(_AT_ONCE)
        async with Caller(self._kubeconfig) as rest, asyncio.TaskGroup() as group:

            async def one() -> None:
                async with slots:
                    await self._place(rest)

            for _ in range(pods):
                group.create_task(one())

    async def place(self, rate: int, seconds: int) -> Delays:
        """Place ``rate`` pods a second; how soon users' statuses and the pool's reflect each."""
        self._placed, self._ended, pools = {}, {}, list[float]()
        users, _ = await self._watched(lambda rest: self._steadily(rate, seconds, lambda: self._place(rest)), pools)
        return {"placement to the user's status": users, "placement to the pool's": pools}

    async def turn_over(self, rate: int, seconds: int) -> Delays:
        """Have ``rate`` pods a second placed, and as many end some seconds later and be deleted."""
        self._placed, self._ended = {}, {}
        placed, ended = await self._watched(lambda rest: self._steadily(rate, seconds, lambda: self._live(rest)), [])
        return {"placement to the user's status": placed, "end to the user's status": ended}

    async def _watched(
        self, work: Callable[[Caller], Coroutine[Any, Any, None]], pools: list[float]
    ) -> tuple[list[float], list[float]]:
        placed, ended = list[float](), list[float]()
        async with Caller(self._kubeconfig) as rest, Caller(self._kubeconfig) as watcher:
            version = await latest(rest)
            watching = [
                asyncio.create_task(self._watch_users(watcher, version, placed, ended)),
                asyncio.create_task(self._watch_pool(watcher, pools)),
            ]
            await work(rest)
            deadline = time.monotonic() + _PATIENCE
            while (len(placed), len(ended)) < (len(self._placed), len(self._ended)) and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
            for task in watching:
                if task.done():
                    raise RuntimeError("a watch has ended by itself") from task.exception()
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
        if (len(placed), len(ended)) != (len(self._placed), len(self._ended)):
            raise RuntimeError(f"of {len(self._placed)} pods {len(placed)} were told, of {len(ended)} the end")
        return placed, ended

    async def _steadily(self, rate: int, seconds: int, one: Callable[[], Coroutine[Any, Any, object]]) -> None:
        began, tasks = time.monotonic(), set()
        for n in range(rate * seconds):
            await asyncio.sleep(max(0, began + n / rate - time.monotonic()))
            tasks.add(asyncio.create_task(one()))
        await asyncio.gather(*tasks)

    async def _live(self, rest: Caller) -> None:
        name = await self._place(rest)
        await asyncio.sleep(_LIFE)
        now = _now()
        over = {"exitCode": 0, "startedAt": now, "finishedAt": now}
        told = {"name": "notebook", "image": "i", "imageID": "i", "ready": False, "restartCount": 0}
        self._ended[name] = time.monotonic()
        await rest.status(
            f"{_PODS}/{name}", {"phase": "Succeeded", "containerStatuses": [told | {"state": {"terminated": over}}]}
        )
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        await rest.call("DELETE", f"{_PODS}/{name}", body)

    async def _place(self, rest: Caller) -> str:
        self._count += 1
        name, user = f"bench-{self._count}", self._luck.choice(self._members).name
        meta = {"name": name, "annotations": {"hub.jupyter.org/username": user}}
        container = {"name": "notebook", "image": "i", "resources": {"requests": {"memory": "1Gi", "cpu": "500m"}}}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container]}}
        await rest.call("POST", _PODS, body)
        condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": _now()}
        self._placed[name] = time.monotonic()
        await rest.status(f"{_PODS}/{name}", {"phase": "Running", "conditions": [condition]})
        return name

    async def _watch_users(self, rest: Caller, version: str, placed: list[float], ended: list[float]) -> None:
        running: dict[str, set[str]] = {}
        told: set[str] = set()
        async for change in rest.watch(f"{_OURS}/userquotas", version):
            body = change["object"]
            now = {pod["pod"] for pod in body.get("status", {}).get("running", [])}
            before = running.get(body["metadata"]["name"], set())
            running[body["metadata"]["name"]] = now
            for name in (now & self._placed.keys()) - told:
                told.add(name)
                placed.append((time.monotonic() - self._placed[name]) * 1000)
            for name in (before - now) & self._ended.keys():
                ended.append((time.monotonic() - self._ended[name]) * 1000)

    async def _watch_pool(self, rest: Caller, delays: list[float]) -> None:
        """A pool's status tells no pod: it reflects those placed before it was made, as its rate of use shows."""
        base = None
        async for change in rest.watch(f"{_OURS}/quotapolicies"):
            pool = change["object"].get("status", {}).get("pool")
            if pool is None:
                continue
            running = float(pool["perHour"]) * 1024  # TiB an hour: each pod holds a GiB
            base = running if base is None else base
            waiting = sorted(self._placed.items(), key=lambda item: item[1])
            for _, at in waiting[len(delays) : round(running - base)]:
                delays.append((time.monotonic() - at) * 1000)


async def latest(rest: Caller | Rest) -> str:
    """The version from which to watch UserQuotas."""
    page: Json = await rest.call("GET", f"{_OURS}/userquotas?limit=1")
    return str(page["metadata"]["resourceVersion"])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
