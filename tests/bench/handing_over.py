"""How soon a standby goes on: from the end of the leader to the first status that tells what happened after it.

On PostgreSQL, by the operator's own settings, in a hub of the made-up history: the standby has all of it to read. The
leader is killed, or stopped as a machine is that sleeps, or told to end.
"""

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.filling import NAMESPACE, fill
from tests.bench.history import Hub
from tests.bench.policies import rolling, spec
from tests.bench.serving import cluster, made, placed
from tests.cluster.test_operator import Bench, ago
from tests.testbed.control_plane import ControlPlane
from tests.testbed.processes import Program
from tests.testbed.terms import SHIPPED

_POLICY: Final = spec("memory-7d", "memory", "GiB-hours", rolling("7d"), 1000)
_ROUNDS: Final = 5
_PATIENCE: Final = 300


def run(hub: Hub) -> bool:
    """Print how long each way took."""
    hub = replace(hub, until=int(time.time()) - 60)
    with tempfile.TemporaryDirectory(prefix="hubquota-bench-") as name, placed("postgresql", Path(name)) as its:
        url = its.url
        print(f"handing over: {hub.users:,} users, {asyncio.run(fill(url, hub)):,} pods in the ledger")
        with cluster(Path(name)) as api:
            _measure(api, Path(name), url)
    return True


def _measure(api: ControlPlane, folder: Path, url: str) -> None:
    bench = Bench(api, NAMESPACE, folder, url)
    bench.create(made(_POLICY))
    pair = Pair(bench)
    try:
        for what, end in (("killed", _killed), ("stopped, but alive", _asleep), ("told to end", _told)):
            took = [pair.hand_over(end) for _ in range(_ROUNDS)]
            print(f"  leader {what}: {median(took):.1f} s, at most {max(took):.1f} s, of {_ROUNDS}")
    finally:
        for program in (pair.leader, pair.standby):
            program.kill()


class Pair:
    """A leader and its standby, which take turns."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._count = bench, 0
        self.leader, self.standby = (bench.operator(name, SHIPPED) for name in ("one", "other"))
        self._begin(self.leader, "is served")
        self._begin(self.standby, "waits for the writer's Lease")

    def hand_over(self, end: Callable[[Program], None]) -> float:
        """Seconds from the leader's end until a pod that was placed after it is told of."""
        self._count += 1
        user = f"late-{self._count}"
        began = time.monotonic()
        end(self.leader)
        self._bench.place(f"jupyter-{user}", user, ago(1))
        self.standby.ready(lambda: bool(self._bench.status(user).get("running")), _PATIENCE)
        took = time.monotonic() - began
        self.leader.kill()
        self.leader, self.standby = self.standby, self.leader
        self.leader.ready(lambda: "is served" in self.leader.last_words(10**6), _PATIENCE)
        self._begin(self.standby, "waits for the writer's Lease")
        return took

    def _begin(self, program: Program, until: str) -> None:
        program.log.unlink(missing_ok=True)
        program.start()
        program.ready(lambda: until in program.last_words(10**6), _PATIENCE)


def _killed(program: Program) -> None:
    program.kill()


def _asleep(program: Program) -> None:
    os.kill(program.pid, signal.SIGSTOP)


def _told(program: Program) -> None:
    program.stop(60)  # what comes after it is told by the standby alone
