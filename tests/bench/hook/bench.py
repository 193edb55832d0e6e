"""All of it: ``make bench BENCH=hook``."""

import asyncio
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from tests.bench.history import Hub
from tests.bench.hook import telling
from tests.bench.hook.cells import CELLS, Cell, Compared, audit, compare
from tests.bench.hook.first import openings
from tests.bench.hook.limits import Limit, settings_of_peer
from tests.bench.hook.samples import FLAGS, fill
from tests.bench.hook.statuses import fill as fill_api
from tests.bench.hook.statuses import hub_kubeconfig
from tests.bench.hook.workers import Worker, python
from tests.bench.hook.world import World
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import ROOT
from tests.testbed.prometheus import PrometheusServer
from tests.testbed.providers import control_plane

#: The longest window of a policy, and a day.
_DAYS: Final = 31
#: Seconds after which the operator's word no longer counts: it does not run here, and its heartbeat is not renewed.
_STALE: Final = 3600.0


def run(hub: Hub) -> bool:
    """Print how both compare; whether both decided each launch rightly, and no first launch was refused or unjudged."""
    python()
    with tempfile.TemporaryDirectory(prefix="hubquota-bench-") as name:
        folder = Path(name)
        api = control_plane(folder / "control-plane")
        try:
            api.start()
            api.apply(ROOT / "crds")
            first = openings(api, folder / "first")
            print("\n".join(("", *telling.openings(first), "")), flush=True)
            compared = list(_compared(api, folder, hub))
        finally:
            api.stop()
    wrong = [fault for one in compared for fault in one.wrong]
    print("\n".join(("", *telling.tables(compared), "", *telling.behind(compared), *wrong[:20])))
    return not wrong and all(one.sound for one in first)


def _compared(api: ControlPlane, folder: Path, hub: Hub) -> Iterator[Compared]:
    """Hub by hub, of no more users than ``hub`` has."""
    by_users = sorted((cell for cell in CELLS if cell.users <= hub.users), key=lambda cell: cell.users)
    for users, cells in groupby(by_users, key=lambda cell: cell.users):
        world = World(replace(hub, users=users, days=_DAYS, until=int(time.time())))
        with filled(world, folder / f"prometheus-{users}") as server:
            yield from _cells(api, server, folder, world, list(cells))


def _cells(
    api: ControlPlane, server: PrometheusServer, folder: Path, world: World, cells: Iterable[Cell]
) -> Iterator[Compared]:
    """The cells of one hub; for each number of policies both first decide on everybody."""
    seen: dict[int, Path] = {}
    for cell in cells:
        limits, namespace = world.limits[: cell.policies], f"hub-{cell.users}-{cell.policies}"
        first = cell.policies not in seen
        if first:
            seen[cell.policies] = _namespace(api, namespace, world, limits)
        with both(namespace, seen[cell.policies], server, limits, folder) as (peer, ours):
            before = time.monotonic()
            wrong = audit(world, limits, peer, ours) if first else []
            found = compare(cell, world, peer, ours)
            print("\n".join(telling.lines(found, time.monotonic() - before)), flush=True)
            yield found._replace(wrong=wrong + found.wrong)


def _namespace(api: ControlPlane, namespace: str, world: World, limits: list[Limit]) -> Path:
    api.make_namespace(namespace)
    asyncio.run(fill_api(api, namespace, world, limits))
    return hub_kubeconfig(api, namespace)


@contextmanager
def filled(world: World, folder: Path) -> Iterator[PrometheusServer]:
    """A Prometheus that has the history."""
    before = time.monotonic()
    server = PrometheusServer(folder, flags=FLAGS)
    count = fill(server, world.series, folder / "samples")
    server.start()
    print(
        f"hook: {world.hub.users:,} users, {len(world.lives):,} pods in {world.hub.days} days, {count:,} samples in "
        f"Prometheus ({time.monotonic() - before:.0f} s); {len(world.people):,} users on whom both agree",
        flush=True,
    )
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def both(
    namespace: str, kubeconfig: Path, server: PrometheusServer, limits: list[Limit], folder: Path
) -> Iterator[tuple[Worker, Worker]]:
    """The two hooks, each in a process of its own."""
    spawner: dict[str, Any] = {"namespace": namespace, "mem_guarantee": "1G", "cpu_guarantee": 0.5}
    theirs = {"KubeSpawner": spawner, "UsageQuotaManager": settings_of_peer(limits, server.url)}
    ours = {"KubeSpawner": spawner, "HubQuota": {"max_staleness": _STALE}}
    with ExitStack() as stack:
        peer = stack.enter_context(Worker("peer", theirs, kubeconfig, folder / "peer.log"))
        yield peer, stack.enter_context(Worker("hubquota", ours, kubeconfig, folder / "hubquota.log"))
