"""The database is away for ten minutes under servers that come and go: what users are told meanwhile, and what is kept.

Exits non-zero where the ledger is not what the cluster holds in the end, or has not every pod that was placed.
"""

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import psycopg

from tests.bench.filling import NAMESPACE, fill
from tests.bench.history import Hub
from tests.bench.loading import Delays, Load
from tests.bench.policies import rolling, spec
from tests.bench.serving import at, cluster, made, memory, placed
from tests.cluster.test_caps import Watched
from tests.storm.auditing import differences
from tests.testbed.postgres import Postgres
from tests.testbed.processes import Program

_POLICY: Final = spec("memory-7d", "memory", "GiB-hours", rolling("7d"), 1000)
#: Servers that start a second, and as many end. Seconds that the database is away, and there before and after that.
_RATE: Final = 5
_AWAY: Final = 600
_MARGIN: Final = 15
_PATIENCE: Final = 300


class Rows(NamedTuple):
    """Pods in the ledger: all, those that are over, and those whose end is estimated."""

    pods: int
    over: int
    estimated: int


def run(hub: Hub) -> bool:
    """Print what was measured; whether all was kept."""
    hub = replace(hub, until=int(time.time()) - 60)
    with tempfile.TemporaryDirectory(prefix="hubquota-bench-") as name, placed("postgresql", Path(name)) as its:
        there = asyncio.run(fill(its.url, hub))
        print(f"outage: {hub.users:,} users, {there:,} pods in the ledger, PostgreSQL away for {_AWAY} s")
        assert its.server is not None
        with cluster(Path(name)) as api:
            bench = Watched(api, NAMESPACE, Path(name))
            bench.database = its.url
            bench.create(made(_POLICY))
            return _endure(bench, Load(api.kubeconfig, hub), its.server)


def _endure(bench: Watched, load: Load, server: Postgres) -> bool:
    before, operator = _rows(bench.database), bench.started()
    try:
        operator.ready(lambda: "is served" in operator.last_words(10**6), _PATIENCE)
        delays, waited = asyncio.run(_through(bench, operator, load, server))
        for name, found in delays.items():
            print(f"  {name}: p50 {at(found, 50):.0f} ms, p99 {at(found, 99):.0f} ms, of {len(found):,}")
        print(f"  {waited:.1f} s after its return all was written; operator's memory at most {memory(operator)} MiB")
        return _kept(bench, operator, before, len(delays["placement to the user's status"]))
    finally:
        operator.stop(30)


async def _through(bench: Watched, operator: Program, load: Load, server: Postgres) -> tuple[Delays, float]:
    """Load on all the way; and how many seconds it took after the database's return until nothing waited."""
    loaded = asyncio.create_task(load.turn_over(_RATE, _AWAY + 2 * _MARGIN))
    await asyncio.sleep(_MARGIN)
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(_AWAY)
    print(f"  {bench.metric('ledger_waiting_pods'):,.0f} pods waited to be written")
    server.program.start()  # from here: it dies with the thread that starts it
    await asyncio.to_thread(server.program.ready, server.answers)
    back = time.monotonic()
    await asyncio.to_thread(operator.ready, lambda: bench.metric("ledger_waiting_pods") == 0, _PATIENCE)
    waited = time.monotonic() - back
    return await loaded, waited


def _kept(bench: Watched, operator: Program, before: Rows, lived: int) -> bool:
    """Whether the ledger has all that was placed, each with the end that was told, and is what the cluster holds."""
    wanted = Rows(before.pods + lived, before.over + lived, before.estimated)
    operator.ready(lambda: bench.metric("ledger_waiting_pods") == 0, _PATIENCE)
    found, wrong = _rows(bench.database), differences(operator.env, [NAMESPACE])
    print(f"  {lived:,} pods lived meanwhile; the ledger has {found}, wanted {wanted}")
    print(f"  hubquota ledger verify: {len(wrong)} differences {wrong[:3] or ''}")
    return found == wanted and not wrong


def _rows(url: str) -> Rows:
    with psycopg.connect(url) as connection:
        query = "SELECT count(*), count(finished), count(*) FILTER (WHERE estimated) FROM pods"
        [row] = connection.execute(query).fetchall()
    return Rows(*row)
