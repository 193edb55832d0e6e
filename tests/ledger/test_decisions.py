"""Each decision is kept once, as it was told, and each policy's are counted."""

from dataclasses import replace

from sqlalchemy import insert

from hubquota.domain.history import DecidingQuota, DecisionKind, DecisionRecord
from hubquota.ledger import Ledger
from hubquota.ledger.tables import decisions

WEEKLY = DecidingQuota("weekly", "u1", "memory", "40", "41.5", "GiB-hours", 900)
POOL = DecidingQuota("pool", "u2", "nvidia.com/gpu", "10", "10", "GPU-hours")
REFUSED = DecisionRecord(
    "d1",
    "hub",
    "alice",
    "gpu",
    DecisionKind.REFUSED,
    100,
    {"memory": 2**62},
    (WEEKLY, POOL),
    "Your quota is used up",
    "large",
    "lab",
)


async def test_a_decision_is_kept_as_it_was_told(ledger: Ledger) -> None:
    assert await ledger.record_decisions(REFUSED) == [REFUSED]
    assert await ledger.decisions_of("hub", "alice", 100, 101) == [REFUSED]
    assert await ledger.decisions_of("hub", "alice", 0, 100) == await ledger.decisions_of("hub", "bob", 0, 999) == []


async def test_what_is_told_again_changes_nothing_and_is_not_counted(ledger: Ledger) -> None:
    later = replace(REFUSED, at=500, message="another")
    assert await ledger.record_decisions(REFUSED, REFUSED, later) == [REFUSED]
    other = replace(REFUSED, id="d2")
    assert await ledger.record_decisions(other, later) == [other]
    assert [d.at for d in await ledger.decisions_of("hub", "alice", 0, 999)] == [100, 100]
    assert await ledger.decision_counts("hub") == {("u1", DecisionKind.REFUSED): 2, ("u2", DecisionKind.REFUSED): 2}


async def test_a_policy_s_decisions_are_counted_by_kind_and_hub(ledger: Ledger) -> None:
    unknown = replace(WEEKLY, uid="")
    twice = replace(REFUSED, id="d7", quotas=(WEEKLY, replace(WEEKLY, resource="cpu")))
    other = replace(REFUSED, id="d8", hub="other")
    observed = [replace(REFUSED, id=f"o{i}", kind=DecisionKind.SHADOW_REFUSED, quotas=(WEEKLY,)) for i in range(3)]
    opened = replace(REFUSED, id="d9", kind=DecisionKind.FAILED_OPEN, quotas=())
    await ledger.record_decisions(*observed, replace(REFUSED, id="d6", quotas=(unknown,)), twice, other, opened)
    assert await ledger.decision_counts("hub") == {
        ("u1", DecisionKind.REFUSED): 1,
        ("u1", DecisionKind.SHADOW_REFUSED): 3,
    }


async def test_one_of_an_earlier_version_is_read_too(ledger: Ledger) -> None:
    row = {"id": "d0", "cluster": "default", "hub": "hub", "user": "alice", "server": "", "at": 5, "message": ""}
    row |= {"kind": DecisionKind.WARNED, "request": {}, "quotas": ["weekly"]}

    async def write(connection: object) -> None:
        await connection.execute(insert(decisions).values(row))  # type: ignore[attr-defined]

    await ledger.writing(write)
    [read] = await ledger.decisions_of("hub", "alice", 0, 10)
    assert (read.quotas, read.profile, read.group) == ((DecidingQuota("weekly"),), "", "")
