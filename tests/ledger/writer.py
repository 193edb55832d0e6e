"""Writes pods for ever, and says on its output what the ledger has acknowledged. Run by the crash test, killed by it.

Usage: ``python writer.py URL ROUND``.
"""

import asyncio
import sys

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.ledger import Ledger

SIZE = 50


def batch(number: str, ended: bool) -> list[PodRecord]:
    """Pods that belong together: the ledger has all of a batch, or none of it."""
    return [
        PodRecord(
            uid=f"{number}/{i}",
            cluster="default",
            hub="hub",
            name=f"jupyter-{i}",
            user=f"user-{i}",
            server="",
            scheduled=100,
            first_seen=101,
            last_seen=200 if ended else 101,
            groups=("a", "b"),
            end=PodEnd(200, HowEnded.CONTAINERS) if ended else None,
            segments=(SegmentRecord("cpu", 1000, None, 100), SegmentRecord("memory", 2**30, None, 100)),
        )
        for i in range(SIZE)
    ]


async def _main(url: str, turn: str) -> None:
    async with await Ledger.open(url) as ledger:
        for count in range(1_000_000):
            number = f"{turn}.{count}"
            await ledger.record(batch(number, ended=False))
            print("open", number, flush=True)
            await ledger.record(batch(number, ended=True))
            print("ended", number, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
