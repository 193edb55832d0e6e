"""What waits to be kept of decisions: bounded, each once, and no neighbour of a poisoned one is lost."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from hubquota.cluster.decisions import Decisions
from hubquota.domain.history import DecisionKind, DecisionRecord
from hubquota.ledger import Ledger
from hubquota.metrics import Metrics
from tests.cluster.telling import event as event_of
from tests.cluster.telling import quota, told
from tests.ledger import conftest as of_ledgers
from tests.testbed.patience import holds

#: Wherever ledgers are tried.
new_url, url, ledger = of_ledgers.new_url, of_ledgers.url, of_ledgers.ledger


class Away(Ledger):
    """A ledger whose database goes away and comes back."""

    away = False

    async def record_decisions(self, *told: DecisionRecord) -> list[DecisionRecord]:
        if self.away:
            raise OperationalError("write", None, Exception("the database is away"))
        return await super().record_decisions(*told)


class Bench:
    """Decisions of one hub, and what is to follow of them."""

    def __init__(self, ledger: Ledger, most: int = 100) -> None:
        self.metrics = Metrics()
        self.followed: list[tuple[dict[str, float], dict[str, float]]] = []
        self.decisions = Decisions(ledger, "hub", self.metrics.of("hub"), self._follow, most)
        self.ledger = ledger

    def _follow(self, users: Mapping[str, float], policies: Mapping[str, float]) -> None:
        self.followed.append((dict(users), dict(policies)))

    def metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"hubquota_{name}_total", {"hub": "hub"} | labels)

    async def ids(self, user: str = "alice") -> list[str]:
        return [d.id for d in await self.ledger.decisions_of("hub", user, 0, 2**62)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.decisions.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def bench(ledger: Ledger) -> Bench:
    return Bench(ledger)


def event(said: object, user: str = "alice") -> dict[str, Any]:
    made = event_of("hub", said, user)
    made["metadata"] |= {"uid": made["metadata"]["name"], "creationTimestamp": "2100-01-01T00:00:00Z"}
    return made


def numbered(number: int, kind: str = "refused", **more: object) -> dict[str, Any]:
    return event(told("alice", kind, quota("weekly", "u1"), id=f"decision-{number}", **more))


async def test_each_is_kept_once_and_counted_once_however_often_it_is_told(bench: Bench) -> None:
    events = [numbered(1), numbered(2, kind="observed"), event(told(kind="failed-open", id="decision-3"))]
    async with bench.running():
        bench.decisions.see(events + events[:1])
        await holds(lambda: len(bench.followed) == 1)
        bench.decisions.see(events)
        await holds(lambda: len(bench.followed) == 2)
    assert sorted(await bench.ids()) == ["decision-1", "decision-2", "decision-3"]
    kinds = {kind: bench.metric("decisions", kind=str(kind)) for kind in DecisionKind}
    assert kinds == dict.fromkeys(DecisionKind, 0) | {
        DecisionKind.REFUSED: 1,
        DecisionKind.SHADOW_REFUSED: 1,
        DecisionKind.FAILED_OPEN: 1,
    }
    assert (bench.decisions.refused("u1"), bench.decisions.would_have_refused("u1")) == (1, 1)
    assert bench.followed == [({"alice": 0}, {"u1": 5.0}), ({}, {})]
    again = Bench(bench.ledger)
    await again.decisions.start()
    assert (again.decisions.refused("u1"), again.decisions.would_have_refused("u1")) == (1, 1)


async def test_a_malformed_one_is_told_and_counted_once_and_its_neighbours_are_kept(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bad = event("{")
    bad["metadata"]["name"] = "bad.1"
    async with bench.running():
        bench.decisions.see([numbered(1), bad, numbered(2)])
        bench.decisions.see([bad])
        await holds(lambda: bool(bench.followed))
    assert await bench.ids() == ["decision-1", "decision-2"]
    assert bench.metric("decisions_malformed") == 1
    assert caplog.text.count("hub=hub event=bad.1 tells no decision: Invalid JSON") == 1
    bench.decisions.listed([])  # it is gone; nothing of it is remembered
    bench.decisions.see([bad])
    assert bench.metric("decisions_malformed") == 2


async def test_while_the_ledger_is_away_they_wait_and_past_the_bound_the_oldest_go(
    url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubquota.cluster.decisions._RETRY", 0.01)
    async with await Away.open(url) as ledger:
        bench = Bench(ledger, most=3)
        ledger.away = True
        async with bench.running():
            for number in range(5):
                bench.decisions.see([numbered(number)])
            bench.decisions.see([numbered(4)])
            await holds(lambda: "decisions are not kept, tried every" in caplog.text)
            assert bench.metric("decisions_dropped") == 2
            assert caplog.text.count("3 decisions wait to be kept: the oldest are dropped") == 1
            ledger.away = False
            await holds(lambda: bool(bench.followed))
        assert await bench.ids() == ["decision-2", "decision-3", "decision-4"]


async def test_one_that_the_database_refuses_takes_no_other_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = bench.ledger.record_decisions

    async def picky(*decisions: DecisionRecord) -> list[DecisionRecord]:
        if any(d.id == "decision-2" for d in decisions):
            raise UnicodeEncodeError("utf-8", "x", 0, 1, "no such character")
        return await real(*decisions)

    monkeypatch.setattr(bench.ledger, "record_decisions", picky)
    async with bench.running():
        bench.decisions.see(map(numbered, range(5)))
        await holds(lambda: bool(bench.followed))
    assert sorted(await bench.ids()) == ["decision-0", "decision-1", "decision-3", "decision-4"]
    assert bench.metric("decisions_malformed") == 1
    assert "decision=decision-2 is not kept" in caplog.text


async def test_who_presses_start_again_and_again_has_the_status_written_once_a_minute(bench: Bench) -> None:
    def at(second: int, server: str = "") -> dict[str, Any]:
        return numbered(second, at=f"2026-11-24T09:{second // 60:02d}:{second % 60:02d}Z", server=server)

    async with bench.running():
        for round_, one in enumerate([at(0), at(10), at(20, server="gpu"), at(5), at(80, server="gpu")]):
            bench.decisions.see([one])
            await holds(lambda n=round_: len(bench.followed) == n + 1)  # type: ignore[misc]
    assert [users for users, _ in bench.followed] == [
        {"alice": 0},
        {"alice": 60.0},  # the same again
        {"alice": 0},  # another server
        {},  # an older one
        {"alice": 0},  # the same, but a minute later
    ]
    last = bench.decisions.last_refusal("alice")
    assert last is not None
    assert (last["at"], last["server"], last["policies"]) == ("2026-11-24T09:01:20Z", "gpu", ["weekly"])


async def test_a_status_brings_back_its_last_refusal_and_a_newer_one_stands(bench: Bench) -> None:
    told_before = {"at": "2026-11-24T09:00:00Z", "server": "", "policies": ["weekly"], "reason": "r"}
    bench.decisions.recall("alice", told_before)
    bench.decisions.recall("bob", {"at": "?"})
    bench.decisions.recall("carol", None)
    assert bench.decisions.last_refusal("alice") == told_before
    assert bench.decisions.last_refusal("bob") is bench.decisions.last_refusal("carol") is None
    async with bench.running():
        bench.decisions.see([numbered(1)])
        await holds(lambda: bool(bench.followed))
    bench.decisions.recall("alice", told_before)
    last = bench.decisions.last_refusal("alice")
    assert last is not None
    assert last["at"] > told_before["at"]
    bench.decisions.forget("alice")
    assert bench.decisions.last_refusal("alice") is None


@pytest.mark.parametrize("kind", ["warned", "observed", "failed-open", "failed-closed"])
async def test_a_status_tells_a_user_of_no_other_decision(bench: Bench, kind: str) -> None:
    async with bench.running():
        bench.decisions.see([numbered(1, kind=kind)])
        await holds(lambda: bool(bench.followed))
    assert bench.decisions.last_refusal("alice") is None
    assert bench.followed[0][0] == {}


async def test_no_control_character_reaches_the_log_or_a_status(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    evil = "eve\x1b[31m\n"
    async with bench.running():
        bench.decisions.see([event(told(evil, server="\x1b", reason="a\x1bb"), evil)])
        await holds(lambda: bool(bench.followed))
    last = bench.decisions.last_refusal(evil)
    assert last is not None
    assert last["reason"].isprintable()
    assert all(line.isprintable() for record in caplog.records for line in [record.getMessage()])
