"""What comes together is written together, and a fault reaches everybody whose sight it was."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from hubquota.cluster.api import Api
from hubquota.cluster.members import Seen
from hubquota.cluster.memberships import Memberships
from hubquota.cluster.observing import Sight
from hubquota.cluster.pods import Pods
from hubquota.domain.history import Membership, PodRecord
from hubquota.domain.windows import SECOND
from hubquota.ledger import Ledger
from hubquota.metrics import Metrics
from tests.cluster.test_scheduling import until

NOW = 1_780_000_000 * SECOND


class Counting(Ledger):
    """A ledger that counts its transactions, and fails when it is told to."""

    written = failed = 0
    broken = False

    async def record(self, seen: Sequence[PodRecord]) -> list[PodRecord]:
        self._judge()
        kept = await super().record(seen)
        self.written += 1
        return kept

    async def record_membership(self, *seen: Membership) -> None:
        self._judge()
        await super().record_membership(*seen)
        self.written += 1

    def _judge(self) -> None:
        if self.broken:
            self.failed += 1
            raise OperationalError("write", {}, Exception("disk full"))


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Counting]:
    async with await Counting.open(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture
def pods(ledger: Counting) -> Pods:
    api: Any = Api  # nothing is asked of the API server here
    return Pods(api, ledger, "hub", "default", lambda: NOW, Metrics().of("hub"), lambda user: False)


def sight(n: int) -> Sight:
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-05-01T00:00:00Z"}
    meta: dict[str, Any] = {
        "uid": f"u{n}",
        "name": f"p{n}",
        "namespace": "hub",
        "creationTimestamp": "2026-05-01T00:00:00Z",
    }
    meta |= {"creationTimestamp": "2026-05-01T00:00:00Z", "annotations": {"hub.jupyter.org/username": f"user{n}"}}
    return Sight({"metadata": meta, "spec": {"containers": []}, "status": {"conditions": [placed]}}, NOW)


async def test_a_class_that_starts_at_once_costs_two_transactions(pods: Pods, ledger: Counting) -> None:
    concerned = await asyncio.gather(*(pods.see([sight(n)]) for n in range(100)))
    assert set().union(*concerned) == {f"user{n}" for n in range(100)}
    assert ledger.written <= 2
    assert len(await ledger.open_pods("hub")) == pods.meter.open_count == 100


async def test_a_ledger_that_fails_tells_all_who_waited_and_the_next_go_on(pods: Pods, ledger: Counting) -> None:
    ledger.broken = True
    told = await asyncio.gather(*(pods.see([sight(n)]) for n in range(10)), return_exceptions=True)
    assert all(isinstance(fault, SQLAlchemyError) for fault in told)
    ledger.broken = False
    assert await pods.see([sight(1)]) == {"user1"}


async def test_groups_are_noted_together_once_and_again_after_a_fault(ledger: Counting) -> None:
    memberships = Memberships(ledger, "hub", lambda: NOW)
    seen = [Seen(f"u{n}", "uid", "1", 1, NOW, f"user{n}", frozenset({"g"})) for n in range(100)]
    task = asyncio.create_task(memberships.run())
    try:
        ledger.broken = True
        memberships.note(seen[:1])
        await until(lambda: ledger.failed == 1)
        ledger.broken = False
        memberships.note(seen)
        await until(lambda: ledger.written == 1)
        memberships.note([*seen, replace(seen[0], user="another")])
        await until(lambda: ledger.written == 2)
        assert len(await ledger.users("hub")) == 101
        assert await ledger.groups_of("hub", ["user1", "nobody"]) == {"user1": frozenset({"g"})}
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
