"""A ledger filled with the made-up history: what is over of it."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.ledger import Ledger, rows
from tests.bench.history import Hub, Life
from tests.bench.profiles import PROFILES

NAMESPACE: Final = "bench"
_MICROS: Final = 1_000_000
#: Pods that are written into the ledger at a time.
_BATCH: Final = 5000


async def fill(url: str, hub: Hub) -> int:
    """Write what is over into a ledger; returns how many pods."""
    count, source = 0, _over(hub)
    async with await Ledger.open(url) as ledger:
        await ledger.covered_since(NAMESPACE, hub.start * _MICROS)
        while batch := list(islice(source, _BATCH)):
            await ledger._write(lambda connection, batch=batch: rows.add(connection, batch))  # type: ignore[misc]
            count += len(batch)
    return count


def _over(hub: Hub) -> Iterator[PodRecord]:
    for life in hub.lives():
        if life.placed is not None and life.ended is not None and not life.resizes:
            yield _record(life, life.placed * _MICROS, life.ended * _MICROS)


def _record(life: Life, start: int, end: int) -> PodRecord:
    held = {**PROFILES[life.profile].held, **({"servers": 1000} if life.server is not None else {})}
    return PodRecord(
        uid=life.uid,
        cluster="default",
        hub=NAMESPACE,
        name=life.name,
        user=life.user,
        server=life.server,
        scheduled=start,
        first_seen=start,
        last_seen=end,
        groups=life.groups,
        chosen_group=life.chosen,
        end=PodEnd(end, HowEnded.CONTAINERS),
        segments=tuple(SegmentRecord(r, amount, None, start, end) for r, amount in held.items()),
    )
