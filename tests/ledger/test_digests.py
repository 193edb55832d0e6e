"""What a start reads of a pod that is over says the same as its segments, and no pod is read twice or left out."""

import asyncio
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.ledger import Ledger, undigested
from tests.ledger.conftest import NewUrl
from tests.ledger.pods import Life, holding, lives, pod

#: User, resource, amount, start, end.
Held = tuple[str | None, str, int, int, int | None]


def held(pod: PodRecord) -> list[Held]:
    return [(pod.user, s.resource, s.request, s.start, s.end) for s in pod.segments]


async def read(ledger: Ledger, before: int) -> "Counter[Held]":
    """All that a start reads, both ways."""
    found: Counter[Held] = Counter()
    async for batch in ledger.digests("hub", 0, before):
        for user, start, end, digest in batch:
            found.update((user, resource, amount, start, end) for resource, amount in undigested(digest)[0].items())
    async for record in ledger.rest("hub", 0, before):
        found.update(held(record))
    return found


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=lives("u1"), second=lives("u2"), before=st.integers(0, 1600))
def test_digests_and_the_rest_are_all_pods_once(first: Life, second: Life, before: int, new_url: NewUrl) -> None:
    asyncio.run(_compared(new_url(), [*first.seen, *second.seen], before))


async def _compared(url: str, seen: list[PodRecord], before: int) -> None:
    async with await Ledger.open(url) as ledger:
        await ledger.record(seen)
        everything = Counter(h for pods in (await ledger.history("hub", 0)).values() for p in pods for h in held(p))
        assert await read(ledger, before) == everything


async def test_a_digest_tells_what_was_held_and_who_paid(ledger: Ledger) -> None:
    over = pod(
        end=PodEnd(100, HowEnded.CONTAINERS), segments=holding(50, {"cpu": 5, "memory": 7}, 100), groups=("b", "a")
    )
    chosen = pod("u2", end=PodEnd(100, HowEnded.CONTAINERS), groups=("b", "a"), chosen_group="b")
    await ledger.record([over, chosen, pod("u3")])
    batches = [batch async for batch in ledger.digests("hub", 0, 1000)]
    told = sorted((undigested(digest) for batch in batches for *_, digest in batch), key=str)
    assert told[0] == ({"cpu": 5, "memory": 7}, ("a", "b"))
    assert told[1][1] == ("b",)
    assert [p.uid async for p in ledger.rest("hub", 0, 1000)] == ["u3"]


async def test_a_pod_that_was_resized_or_was_seen_lately_is_read_whole(ledger: Ledger) -> None:
    segments = (SegmentRecord("cpu", 1, None, 50, 70), SegmentRecord("cpu", 2, None, 70, 100))
    await ledger.record([pod(end=PodEnd(100, HowEnded.CONTAINERS), segments=segments)])
    await ledger.record([pod("u2", at=2000, end=PodEnd(100, HowEnded.CONTAINERS))])
    assert [batch async for batch in ledger.digests("hub", 0, 1000)] == []
    assert sorted([p.uid async for p in ledger.rest("hub", 0, 1000)]) == ["u1", "u2"]


async def test_a_digest_that_no_index_could_hold_is_not_kept(ledger: Ledger) -> None:
    many = tuple(f"{i:0255}" for i in range(256))
    await ledger.record([pod(end=PodEnd(100, HowEnded.CONTAINERS), segments=holding(50, {"cpu": 1}, 100), groups=many)])
    assert [p.groups async for p in ledger.rest("hub", 0, 1000)] == [many]
