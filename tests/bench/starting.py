"""A cold start: from a ledger of a million pods to where everybody stands, in a process of its own.

``python -m tests.bench.starting URL INSTANT`` is that process.
"""

import asyncio
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from hubquota.cluster.garbage import taking_in_much
from hubquota.cluster.past import recalled
from hubquota.ledger import Ledger
from hubquota.resources.status import user_status
from tests.bench.filling import NAMESPACE, fill
from tests.bench.history import Hub
from tests.bench.policies import engine
from tests.bench.scale import POLICIES, most_memory
from tests.testbed.hub import ROOT

_MICROS: Final = 1_000_000
_REACH: Final = 35 * 86_400 * _MICROS


def run(hub: Hub) -> bool:
    """Print how long a start takes, and the most memory that the process had."""
    hub = replace(hub, until=int(time.time()) - 60)
    with tempfile.TemporaryDirectory(prefix="hubquota-bench-") as folder:
        url = f"sqlite:///{Path(folder)}/ledger.db"
        pods = asyncio.run(fill(url, hub))
        print(f"starting: {hub.users:,} users, {pods:,} pods in an SQLite ledger", flush=True)
        again = [sys.executable, "-m", "tests.bench.starting", url, str(hub.until * _MICROS)]
        subprocess.run(again, check=True, cwd=ROOT)
    return True


async def _start(url: str, now: int) -> None:
    began, policies, bytes_told = time.process_time(), [engine(s) for s in POLICIES], 0
    with taking_in_much():
        async with await Ledger.open(url) as ledger:
            meter = await recalled(ledger, NAMESPACE, now - _REACH, now)
        read = time.process_time() - began
        users = sorted(meter.users())
        for user in users:
            standing = meter.standing(policies, user, frozenset(), now)
            bytes_told += len(str(user_status(standing, [], 1)))
    whole = time.process_time() - began
    print(f"  read {read:.1f} s, where {len(users):,} users stand {whole - read:.1f} s: {whole:.1f} s of CPU in all")
    print(f"  the process has {most_memory()} MiB at most")


if __name__ == "__main__":
    asyncio.run(_start(sys.argv[1], int(sys.argv[2])))
