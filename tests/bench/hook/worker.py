"""One of the two hooks in a process of its own, called as a hub calls it.

``python worker.py hubquota|peer CONFIG`` reads rounds of launches from its standard input, one JSON object a line, and
answers each with what came of it. It is run by the Python of peer.txt and imports nothing of the tests.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jupyterhub.app
from jupyterhub.spawner import SpawnException
from kubespawner import KubeSpawner
from prometheus_client import REGISTRY
from traitlets.config import Config

Json = dict[str, Any]
Hook = Callable[[Any], Awaitable[None]]

#: Seconds between looks at the clock, from which it is seen how long the loop did not turn.
_TICK = 0.001
#: How counters of launches that nobody could judge are named by either hook.
_UNANSWERED = ("hubquota_hook_failed_open_total", "hubquota_hook_failed_closed_total", "_usage_quotas_fail_open_total")


def hubquota(settings: Json) -> Hook:
    """Our hook, which knows nothing yet but what KubeSpawner's client has open."""
    c = Config(settings)
    importlib.import_module("hubquota_hook").setup_hubquota(c)
    hook: Hook = c.KubeSpawner.pre_spawn_hook
    return hook


def peer(settings: Json) -> Hook:
    """That of jupyterhub-usage-quotas, which can be set up once in a process."""
    c = Config(settings)
    importlib.import_module("jupyterhub_usage_quotas").setup_usage_quotas(c)
    hook: Hook = c.KubeSpawner.pre_spawn_hook
    return hook


class Hooks:
    """Makes the hook that the next launches meet."""

    def __init__(self, which: str, settings: Json) -> None:
        self._make, self._settings = {"hubquota": hubquota, "peer": peer}[which], settings
        self._kept = self._make(settings)

    def next(self, fresh: bool) -> Hook:
        """``fresh``: one that remembers nothing of the launches before, where there can be one."""
        if fresh and self._make is hubquota:
            self._kept = hubquota(self._settings)
        return self._kept


def spawner(settings: Json, name: str, groups: list[str]) -> Any:  # noqa: ANN401 - KubeSpawner, whose types are not known
    """A launch, as the hub makes it for its user."""
    user = SimpleNamespace(
        name=name, id=1, url="/", escaped_name=name, groups=[SimpleNamespace(name=g) for g in groups]
    )
    hub = SimpleNamespace(public_host="", url="/", base_url="/", api_url="/")
    return KubeSpawner(config=Config({"KubeSpawner": settings["KubeSpawner"]}), user=user, hub=hub)


async def decided(hook: Hook, launch: Any, began: float) -> tuple[float, str]:  # noqa: ANN401
    """Seconds since ``began``, and the reason of the refusal; empty: it was let through."""
    reason = ""
    try:
        await hook(launch)
    except SpawnException as refusal:
        reason = refusal.reason
    return time.perf_counter() - began, reason


async def longest_pause(over: asyncio.Event) -> float:
    """Seconds that the loop did not turn, at the longest."""
    longest, last = 0.0, time.perf_counter()
    while not over.is_set():
        await asyncio.sleep(_TICK)
        now = time.perf_counter()
        longest, last = max(longest, now - last - _TICK), now
    return longest


async def burst(hook: Hook, launches: list[Any]) -> tuple[list[tuple[float, str]], float, float]:
    """What came of launches that all begin now; the longest pause of the loop meanwhile, and seconds of CPU."""
    over = asyncio.Event()
    watching = asyncio.ensure_future(longest_pause(over))
    await asyncio.sleep(2 * _TICK)
    began, busy = time.perf_counter(), time.process_time()
    found = await asyncio.gather(*(decided(hook, launch, began) for launch in launches))
    busy = time.process_time() - busy
    over.set()
    return found, await watching, busy


async def played(hooks: Hooks, settings: Json, asked: Json) -> Json:
    """A round of launches, ``at_once`` at a time."""
    launches = [spawner(settings, name, groups) for name, groups in asked["launches"]]
    unanswered, found, pause, busy = counted(), list[tuple[float, str]](), 0.0, 0.0
    hook = hooks.next(asked["fresh"])  # a hub's own lives on from one launch to the next
    gc.collect()
    for first in range(0, len(launches), asked["at_once"]):
        came, paused, took = await burst(hook, launches[first : first + asked["at_once"]])
        found, pause, busy = found + came, max(pause, paused), busy + took
    told = {"seconds": [seconds for seconds, _ in found], "reasons": [reason for _, reason in found]}
    return told | {"pause": pause, "cpu": busy, "unanswered": counted() - unanswered, "memory": memory()}


def counted() -> int:
    """Launches so far that the hook could not judge."""
    samples = (sample for family in REGISTRY.collect() for sample in family.samples)
    return int(sum(sample.value for sample in samples if sample.name.endswith(_UNANSWERED)))


def memory() -> int:
    """KiB that this process has."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


async def main() -> None:
    """Answer until the input ends."""
    which, settings = sys.argv[1], json.loads(sys.argv[2])
    sys.path.insert(0, settings.pop("path"))
    logging.basicConfig(level=logging.INFO)
    with contextlib.suppress(Exception):  # it need not be allowed: a hub is connected to its API server
        await spawner(settings, "somebody", []).api.list_namespaced_pod(settings["KubeSpawner"]["namespace"], limit=1)
    gc.collect()
    before = memory()
    hooks = Hooks(which, settings)
    print(json.dumps({"memory": before, "version": jupyterhub.__version__}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(await played(hooks, settings, json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
