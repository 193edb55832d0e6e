"""What is seen counts at once and is written meanwhile: together, again after a fault, and nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DataError, OperationalError

from hubquota.cluster import journal as journals
from hubquota.cluster.announcing import Announcer
from hubquota.cluster.api import Api
from hubquota.cluster.journal import Journal
from hubquota.cluster.members import Seen
from hubquota.cluster.memberships import Memberships
from hubquota.cluster.nodes import Nodes
from hubquota.cluster.observing import Sight
from hubquota.cluster.pods import Pods
from hubquota.domain.history import HowEnded, Membership, PodEnd, PodRecord, PolicyRevision
from hubquota.domain.windows import SECOND
from hubquota.ledger import Ledger
from hubquota.metrics import Metrics
from tests.testbed.patience import PATIENCE, holds

NOW = 1_780_000_000 * SECOND
MOST = 100


class Counting(Ledger):
    """A ledger that counts its transactions, and fails when it is told to."""

    written = failed = 0
    broken = False
    poison = "none"

    async def record(self, seen: Sequence[PodRecord]) -> list[PodRecord]:
        self._judge()
        if any(pod.uid == self.poison for pod in seen):
            raise DataError("write", {}, Exception("invalid byte sequence"))
        kept = await super().record(seen)
        self.written += 1
        return kept

    async def record_policy_revision(self, seen: PolicyRevision) -> None:
        self._judge()
        await super().record_policy_revision(seen)

    async def record_membership(self, *seen: Membership) -> None:
        self._judge()
        await super().record_membership(*seen)
        self.written += 1

    def _judge(self) -> None:
        if self.broken:
            self.failed += 1
            raise OperationalError("write", {}, Exception("disk full"))


class World:
    """Pods, their journal and the ledger, without an API server."""

    def __init__(self, ledger: Counting, api: Any = Api) -> None:  # noqa: ANN401
        self.ledger, self.metrics = ledger, Metrics()
        metrics = self.metrics.of("hub")
        self.turns = 0
        self.told: list[set[str]] = []
        self.refused: list[str] = []
        self.journal = Journal(
            ledger,
            "hub",
            MOST,
            lambda: NOW,
            metrics,
            self._learned,
            self._turned,
            lambda pod, _: self.refused.append(pod.uid),
        )
        told = (ledger, "hub", "default", lambda: NOW, metrics, self.journal, lambda user: False)
        self.pods = Pods(api, *told, Announcer(api, "hub", lambda: NOW), Nodes(api, ()))

    async def _learned(self, kept: Sequence[PodRecord]) -> None:
        self.told.append(await self.pods.learn(kept))

    def _turned(self) -> None:
        self.turns += 1

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"hubquota_{name}", {"hub": "hub"})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.journal.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def written(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.journal.settled()


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Counting]:
    async with await Counting.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture
def world(ledger: Counting, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(journals, "RETRY", 0.02)
    return World(ledger)


def sight(n: int, *, gone: bool = False) -> Sight:
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-05-01T00:00:00Z"}
    meta: dict[str, Any] = {
        "uid": f"u{n:04}",
        "name": f"p{n}",
        "namespace": "hub",
        "creationTimestamp": "2026-05-01T00:00:00Z",
        "annotations": {"hub.jupyter.org/username": f"user{n}"},
    }
    pod = {"metadata": meta, "spec": {"containers": []}, "status": {"conditions": [placed]}}
    return Sight(pod, NOW + SECOND if gone else NOW, gone)


async def test_a_class_that_starts_at_once_counts_at_once_and_costs_two_transactions(world: World) -> None:
    async with world.running():
        concerned = [world.pods.see([sight(n)]) for n in range(100)]
        assert set().union(*concerned) == {f"user{n}" for n in range(100)}
        assert world.pods.meter.open_count == 100
        await world.written()
    assert world.ledger.written <= 2
    assert len(await world.ledger.open_pods("hub")) == 100
    assert world.metric("ledger_waiting_pods") == 0
    assert world.told == [set()] * world.ledger.written


async def test_while_the_ledger_is_away_metering_goes_on_and_all_is_written_when_it_is_back(world: World) -> None:
    world.ledger.broken = True
    async with world.running():
        world.pods.see([sight(1), sight(2)])
        await holds(lambda: world.ledger.failed >= 3)
        assert world.pods.see([sight(1, gone=True)]) == {"user1"}
        assert world.pods.see([sight(3)]) == {"user3"}
        assert world.pods.meter.open_count == 2
        assert (world.journal.away_since, world.turns) == (NOW, 1)
        assert (world.metric("ledger_available"), world.metric("ledger_waiting_pods")) == (0, 3)
        world.ledger.broken = False
        await world.written()
        assert (world.journal.away_since, world.turns) == (None, 2)
        assert (world.metric("ledger_available"), world.metric("ledger_waiting_pods")) == (1, 0)
        faults = world.metric("ledger_faults_total")
        assert faults is not None
        assert faults >= 3
    assert {pod.uid for pod in await world.ledger.open_pods("hub")} == {"u0002", "u0003"}
    [ended] = await world.ledger.pods_of("hub", "user1", 0)
    assert ended.end is not None


async def test_past_its_bound_pods_are_left_out_and_counted_and_written_when_they_are_listed_again(
    world: World,
) -> None:
    world.ledger.broken = True
    async with world.running():
        world.pods.see([sight(n) for n in range(MOST)])
        assert world.journal.full
        world.pods.see([sight(MOST)])
        world.pods.see([sight(5, gone=True)])  # waits already, so there is room for its end
        assert world.pods.meter.open_count == MOST
        assert world.metric("ledger_left_out_total") == 1
        world.ledger.broken = False
        await world.written()
        assert not world.journal.full
        assert world.pods.meter.open_count == MOST
        assert len(await world.ledger.open_pods("hub")) == MOST - 1
        world.pods.see([sight(MOST)])  # as the next listing does
        await world.written()
    assert len(await world.ledger.open_pods("hub")) == MOST


async def test_what_the_database_refuses_keeps_nothing_else_from_being_written(world: World) -> None:
    world.ledger.poison = "u0007"
    async with world.running():
        world.pods.see([sight(n) for n in range(20)])
        await world.written()
    assert {pod.uid for pod in await world.ledger.open_pods("hub")} == {f"u{n:04}" for n in range(20) if n != 7}
    assert world.metric("poison_pods_total") == 1
    assert world.refused == ["u0007"]
    assert world.journal.away_since is None


async def test_what_the_ledger_knows_more_is_metered_too(world: World) -> None:
    """The operator ended it in an estimate; the ledger knows its certain end already."""
    world.pods.see([sight(1)])
    [open_pod] = world.pods.meter.open_pods()
    end = PodEnd(NOW + 5 * SECOND, HowEnded.CONTAINERS, None)
    await world.ledger.record([replace(open_pod, end=end, last_seen=NOW + 6 * SECOND)])
    assert world.pods.meter.open_count == 1
    async with world.running():
        await world.written()
        await holds(lambda: world.told == [{"user1"}])
    assert world.pods.meter.open_count == 0


async def test_what_happens_to_a_pod_while_it_is_being_written_is_written_after(world: World) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    record = world.ledger.record

    async def slowly(seen: Sequence[PodRecord]) -> list[PodRecord]:
        begun.set()
        await go_on.wait()
        return await record(seen)

    world.ledger.record = slowly  # type: ignore[method-assign]
    async with world.running():
        world.pods.see([sight(1)])
        await begun.wait()
        world.pods.see([sight(1, gone=True)])
        go_on.set()
        await world.written()
        assert world.pods.meter.open_count == 0  # what the ledger said meanwhile does not bring it back
    assert await world.ledger.open_pods("hub") == []


async def test_other_notes_are_written_in_their_order_also_after_a_fault(world: World) -> None:
    revisions = [PolicyRevision("uid", "hub", "weekly", g, {"g": g}, NOW + g) for g in (1, 2, 3)]
    world.ledger.broken = True
    async with world.running():
        for revision in revisions:
            world.journal.note(lambda r=revision: world.ledger.record_policy_revision(r))  # type: ignore[misc]
        await holds(lambda: world.ledger.failed >= 2)
        world.journal.note(lambda: world.ledger.end_policy("uid", NOW + 9))
        world.ledger.broken = False
        await holds(lambda: world.turns == 2)
        async with asyncio.timeout(PATIENCE):
            while [r.end for r in await world.ledger.policy_revisions("hub")] != [NOW + 2, NOW + 3, NOW + 9]:
                await asyncio.sleep(0.01)


async def test_what_waits_is_written_at_the_end_and_an_end_waits_for_no_database_for_ever(world: World) -> None:
    world.pods.see([sight(1)])
    await world.journal.flush(10)
    assert len(await world.ledger.open_pods("hub")) == 1
    world.ledger.broken = True
    world.pods.see([sight(2)])
    await world.journal.flush(0.1)
    assert len(await world.ledger.open_pods("hub")) == 1


async def test_groups_are_noted_together_once_and_again_after_a_fault(ledger: Counting) -> None:
    memberships = Memberships(ledger, "hub", lambda: NOW)
    seen = [Seen(f"u{n}", "uid", "1", 1, NOW, f"user{n}", frozenset({"g"})) for n in range(100)]
    task = asyncio.create_task(memberships.run())
    try:
        ledger.broken = True
        memberships.note(seen[:1])
        await holds(lambda: ledger.failed == 1)
        ledger.broken = False
        memberships.note(seen)
        await holds(lambda: ledger.written == 1)
        memberships.note([*seen, replace(seen[0], user="another")])
        await holds(lambda: ledger.written == 2)
        assert len(await ledger.users("hub")) == 101
        assert await ledger.groups_of("hub", ["user1", "nobody"]) == {"user1": frozenset({"g"})}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_that_no_groups_can_be_noted_is_said_once(
    ledger: Counting, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hubquota.cluster.memberships._RETRY", 0)
    memberships = Memberships(ledger, "hub", lambda: NOW)
    ledger.broken = True
    task = asyncio.create_task(memberships.run())
    try:
        memberships.note([Seen("u", "uid", "1", 1, NOW, "alice", frozenset({"g"}))])
        await holds(lambda: ledger.failed >= 3)
        assert len([r for r in caplog.records if "groups are not noted" in r.message]) == 1
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
