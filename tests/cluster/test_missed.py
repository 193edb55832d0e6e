"""A pod whose end nobody told was gone when the next of its name was placed, also where that is over already."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hubquota.cluster.observing import Sight
from hubquota.domain.history import HowEnded, PodEnd
from hubquota.domain.pods import rfc3339
from hubquota.domain.windows import SECOND
from tests.cluster.test_journal import NOW, Counting, World
from tests.cluster.test_journal import sight as journaled

#: Whole seconds before now.
MINUTE = 60 * SECOND


def sight(uid: str, placed: int, seen: int, *, ended: int | None = None, due: int | None = None) -> Sight:
    """One of the pods of alice's server, at instants before now."""
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": rfc3339(NOW - placed)}
    meta: dict[str, Any] = {"uid": uid, "name": "jupyter-alice", "namespace": "hub"}
    meta |= {"annotations": {"hub.jupyter.org/username": "alice"}}
    meta |= {} if due is None else {"deletionTimestamp": rfc3339(NOW - due)}
    over = [] if ended is None else [{"state": {"terminated": {"finishedAt": rfc3339(NOW - ended)}}}]
    status = {"conditions": [condition], "containerStatuses": over, "phase": "Running" if ended is None else "Failed"}
    return Sight({"metadata": meta, "spec": {"containers": []}, "status": status}, NOW - seen, gone=False)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    none: list[dict[str, Any]] = []

    async def nothing(_: str) -> AsyncIterator[dict[str, Any]]:
        for pod in none:
            yield pod

    async with await Counting.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        yield World(ledger, SimpleNamespace(listing=nothing))


async def test_it_was_gone_by_then_and_not_by_the_listing_that_shows_neither(world: World) -> None:
    first = sight("first", 10 * MINUTE, 6 * MINUTE, due=1 * MINUTE)
    second = sight("second", 5 * MINUTE, 4 * MINUTE, ended=3 * MINUTE)
    world.pods.see([first, second])
    await world.pods.resync()
    by = NOW - 5 * MINUTE + SECOND
    ended = world.pods.meter.known("first")
    assert ended is not None
    assert ended.end == PodEnd(by, HowEnded.DELETION_TIMESTAMP, by)


async def test_where_there_was_no_other_it_was_gone_by_the_listing(world: World) -> None:
    world.pods.see([sight("first", 10 * MINUTE, 9 * MINUTE, ended=8 * MINUTE)])
    world.pods.see([sight("second", 5 * MINUTE, 4 * MINUTE, due=1 * MINUTE)])
    await world.pods.resync()
    ended = world.pods.meter.known("second")
    assert ended is not None
    assert ended.end == PodEnd(NOW - 1 * MINUTE, HowEnded.DELETION_TIMESTAMP, NOW)


async def test_what_happens_meanwhile_does_not_wait_for_a_listing_of_many(tmp_path: Path) -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def many(_: str) -> AsyncIterator[Mapping[str, Any]]:
        for n in range(1000):
            yield journaled(n).pod

    async with await Counting.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        world = World(ledger, SimpleNamespace(listing=many))
        other = asyncio.create_task(take_turns())
        assert len(await world.pods.resync()) == 1000
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
    assert turns >= 10
