"""What is older than anybody looks back goes, in small steps, archived first; nothing else ever does."""

import asyncio
import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, update

from hubquota.domain.history import (
    DecisionKind,
    DecisionRecord,
    HowEnded,
    Membership,
    PodEnd,
    PodRecord,
    PolicyRevision,
)
from hubquota.domain.pods import micros
from hubquota.domain.windows import DAY, HOUR
from hubquota.files import pod_history
from hubquota.files.archive import to_archive
from hubquota.ledger import Ledger, pruning
from hubquota.ledger.auditing.inside import audit
from hubquota.ledger.pruning import CannotPrune, Pruned, last_month, prune
from hubquota.ledger.rows import BATCH
from hubquota.ledger.tables import hubs, memberships, pod_groups, pods, policy_revisions, segments
from tests.auditing.conftest import Break, Rows
from tests.ledger.pods import holding, pod

NOW = micros("2026-03-15T12:00:00Z")
BEFORE = micros("2025-12-01T00:00:00Z")
OCTOBER = "2025-10-01T00:00:00Z"
WEEKLY = {
    "scope": {"everyone": True},
    "resource": "memory",
    "limit": {"value": 10, "unit": "GiB-hours"},
    "window": {"rolling": "7d"},
}


def ran(uid: str, end: int | None, **more: Any) -> PodRecord:  # noqa: ANN401 - any field
    """A pod of two hours, seen for the last time when it ended."""
    start = (end or BEFORE) - 2 * HOUR
    seen = start if end is None else end
    ended = None if end is None else PodEnd(end, HowEnded.CONTAINERS)
    told = {"scheduled": start, "end": ended, "segments": holding(start, {"memory": 1}, end), "groups": ("a", "b")}
    return pod(uid, seen, **(told | more))


async def uids(rows: Rows) -> list[str]:
    return [row["uid"] for row in await rows(pods)]


async def covered(ledger: Ledger) -> int:
    return await ledger.covered("hub", -1)


async def test_what_ended_before_goes_whole_and_the_rest_stays(ledger: Ledger, rows: Rows) -> None:
    await ledger.covered_since("other", 0)
    kept = [
        ran("edge", BEFORE),
        ran("later", BEFORE + HOUR),
        ran("open", None),
        ran("theirs", BEFORE - DAY, hub="other"),
    ]
    # It ended long ago, and is still there.
    lingers = replace(ran("lingers", BEFORE - DAY), last_seen=NOW)
    await ledger.record([ran("old", BEFORE - 1), ran("older", BEFORE - 90 * DAY), lingers, *kept])
    assert await prune(ledger, "hub", BEFORE, NOW) == Pruned(pods=2)
    there = sorted(["lingers", *(p.uid for p in kept)])
    assert await uids(rows) == there
    assert {row["uid"] for table in (segments, pod_groups) for row in await rows(table)} == set(there)
    assert await prune(ledger, "hub", BEFORE, NOW) == Pruned()
    assert await audit(ledger) == []


async def test_decisions_and_what_is_over_of_users_groups_and_policies_go_too(ledger: Ledger, rows: Rows) -> None:
    for at in (BEFORE - DAY, BEFORE):
        decision = DecisionRecord(str(at), "hub", "alice", "", DecisionKind.REFUSED, at, {}, ())
        await ledger.record_decisions(decision)
    for user, end in (("alice", BEFORE - DAY), ("bob", BEFORE + DAY), ("carol", None)):
        await ledger.record_membership(Membership("hub", user, frozenset("ab"), BEFORE - 9 * DAY))
        await ledger.record_membership(Membership("hub", user, frozenset("a"), BEFORE - 5 * DAY))
        if end is not None:
            await ledger.end_user("hub", user, end)
    for generation, at in ((1, BEFORE - 9 * DAY), (2, BEFORE - DAY), (3, BEFORE)):
        await ledger.record_policy_revision(PolicyRevision("p", "hub", "p", generation, WEEKLY, at))
    assert await prune(ledger, "hub", BEFORE, NOW) == Pruned(
        decisions=1, memberships=4, hub_users=1, policy_revisions=1
    )
    assert [(row["user"], row["group"]) for row in await rows(memberships)] == [("bob", "a"), ("carol", "a")]
    assert [row["generation"] for row in await rows(policy_revisions)] == [2, 3]
    assert await covered(ledger) == 0, "no pod went, so nothing is known less"
    assert await audit(ledger) == []


async def test_what_is_known_begins_where_the_deleted_ends(ledger: Ledger) -> None:
    await ledger.record([ran("old", BEFORE - DAY)])
    await prune(ledger, "hub", BEFORE, NOW)
    assert await covered(ledger) == BEFORE
    await ledger.record([ran("old", BEFORE - 2 * DAY)])
    await prune(ledger, "hub", BEFORE - DAY, NOW)
    assert await covered(ledger) == BEFORE, "it never moves back"


@pytest.mark.parametrize(
    ("spec", "latest"),
    [
        ({"window": {"rolling": "100d"}}, NOW - 100 * DAY),
        ({"window": {"calendar": "Year", "timeZone": "Europe/Berlin"}}, micros("2025-12-31T23:00:00Z")),
        ({"window": {"fixed": {"start": OCTOBER, "end": "2026-04-01T00:00:00Z"}}}, micros(OCTOBER)),
        ({"window": {"fixed": {"start": OCTOBER, "end": "2026-03-01T00:00:00Z"}}}, None),
        ({"window": {"rolling": "forever"}}, None),
        ({"window": {"rolling": "1d"}}, None),
    ],
    ids=["rolling", "calendar", "event", "past event", "not valid", "short"],
)
async def test_nothing_goes_inside_a_window_of_a_policy_that_holds(
    ledger: Ledger, rows: Rows, spec: dict[str, Any], latest: int | None
) -> None:
    """``latest`` None: the policy is in no way, and the last month is."""
    until = last_month(NOW) if latest is None else latest
    await ledger.record([ran("old", until - 1)])
    await ledger.record_policy_revision(PolicyRevision("p", "hub", "long", 1, WEEKLY | spec, 1))
    with pytest.raises(CannotPrune, match="a month that is not frozen" if latest is None else "window of policy long"):
        await prune(ledger, "hub", until + 1, NOW)
    assert await uids(rows) == ["old"]
    assert (await prune(ledger, "hub", until, NOW)).pods == 1


async def test_a_policy_that_is_gone_is_in_nobody_s_way(ledger: Ledger) -> None:
    await ledger.record_policy_revision(PolicyRevision("p", "hub", "p", 1, WEEKLY | {"window": {"rolling": "400d"}}, 1))
    await ledger.end_policy("p", NOW - DAY)
    assert await prune(ledger, "hub", BEFORE, NOW) == Pruned()


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        ("2026-03-15T12:00:00Z", "2026-02-01T00:00:00Z"),
        ("2026-01-01T00:00:00Z", "2025-12-01T00:00:00Z"),
        ("2025-12-31T23:59:59Z", "2025-11-01T00:00:00Z"),
        ("2024-03-31T00:00:00Z", "2024-02-01T00:00:00Z"),
    ],
)
def test_this_month_and_the_last_are_not_frozen(now: str, begins: str) -> None:
    assert last_month(micros(now)) == micros(begins)


async def test_which_months_are_frozen_is_another_s_to_say(ledger: Ledger) -> None:
    await ledger.record([ran("old", BEFORE - DAY)])
    with pytest.raises(CannotPrune, match="2024-01-01T00:00:00Z, where a month that is not frozen begins"):
        await prune(ledger, "hub", BEFORE, NOW, unfrozen=lambda now: micros("2024-01-01T00:00:00Z"))


async def test_a_dry_run_tells_what_would_go_and_changes_nothing(ledger: Ledger, rows: Rows, tmp_path: Path) -> None:
    await ledger.record([ran("old", BEFORE - DAY), ran("new", BEFORE)])
    archive = tmp_path / "old.jsonl"
    assert await prune(ledger, "hub", BEFORE, NOW, archive, dry_run=True) == Pruned(pods=1)
    assert (await uids(rows), await covered(ledger), archive.exists()) == (["new", "old"], 0, False)


async def test_the_archive_has_what_went_and_is_read_as_any_history(ledger: Ledger, tmp_path: Path) -> None:
    # More than a batch, and more than a batch that ended at one instant.
    many = [ran(f"u{i:04}", BEFORE - DAY + (0 if i < BATCH + 7 else i)) for i in range(2 * BATCH + 9)]
    told = await ledger.record(many)
    archive = tmp_path / "old.jsonl"
    assert (await prune(ledger, "hub", BEFORE, NOW, archive)).pods == len(many)
    assert sorted(pod_history.read(archive), key=lambda p: p.uid) == told
    assert await ledger.history("hub", 0) == {}


async def test_an_archive_that_cannot_be_written_keeps_everything(
    ledger: Ledger, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.record([ran("old", BEFORE - DAY)])
    archive = tmp_path / "old.jsonl"
    archive.write_text("mine")
    with pytest.raises(FileExistsError):
        await prune(ledger, "hub", BEFORE, NOW, archive)
    assert (archive.read_text(), await uids(rows), await covered(ledger)) == ("mine", ["old"], 0)
    monkeypatch.setattr("os.fsync", _full)
    with pytest.raises(OSError, match="disk is full"):
        await prune(ledger, "hub", BEFORE, NOW, tmp_path / "new.jsonl")
    assert (await uids(rows), await covered(ledger)) == (["old"], 0)
    assert not (tmp_path / "new.jsonl").exists()


def _full(_: int) -> None:
    raise OSError(errno.ENOSPC, "the disk is full")


async def test_the_archive_is_on_the_disk_before_anything_is_deleted(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.record([ran(f"u{i:04}", BEFORE - DAY) for i in range(BATCH + 5)])
    steps: list[str] = []
    monkeypatch.setattr("os.fsync", lambda _: steps.append("fsync"))

    def noted(_c: object, _k: object, statement: str, *_: object) -> None:
        if statement.startswith(("DELETE", "UPDATE")):
            steps.append(statement.partition(" ")[0])

    event.listen(ledger._engine.sync_engine, "before_cursor_execute", noted)
    await prune(ledger, "hub", BEFORE, NOW, tmp_path / "old.jsonl")
    event.remove(ledger._engine.sync_engine, "before_cursor_execute", noted)
    assert steps == ["fsync", "fsync", "UPDATE", "DELETE", "DELETE"]


async def test_a_pod_that_changes_after_it_was_archived_stays(
    ledger: Ledger, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.record([ran("same", BEFORE - DAY), ran("changed", BEFORE - DAY)])
    written = to_archive

    async def late(*args: Any) -> int:  # noqa: ANN401 - as they come
        count = await written(*args)
        await ledger.record([ran("changed", BEFORE - DAY + HOUR), ran("new", BEFORE - DAY)])
        return count

    monkeypatch.setattr("hubquota.ledger.pruning.to_archive", late)
    assert (await prune(ledger, "hub", BEFORE, NOW, tmp_path / "1.jsonl")).pods == 1
    assert await uids(rows) == ["changed", "new"]
    monkeypatch.setattr("hubquota.ledger.pruning.to_archive", written)
    assert (await prune(ledger, "hub", BEFORE, NOW, tmp_path / "2.jsonl")).pods == 2


async def test_an_operator_that_writes_meanwhile_is_not_locked_out(ledger: Ledger, url: str, rows: Rows) -> None:
    await ledger.record([ran(f"u{i:05}", BEFORE - DAY - i) for i in range(6 * BATCH)])
    async with await Ledger.open(url) as other:
        pruned = asyncio.create_task(prune(other, "hub", BEFORE, NOW))
        written = 0
        while not pruned.done():
            await ledger.record([pod(f"live-{written}", NOW)])
            written += 1
        assert (await pruned).pods == 6 * BATCH
    # Between any two batches somebody else had a turn.
    assert written >= 6
    assert len(await rows(pods)) == written


class Killed(Exception):
    """The process ends here."""


async def test_a_prune_that_ends_in_the_middle_never_tells_more_than_is_there(
    ledger: Ledger, rows: Rows, break_it: Break, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.record([ran(f"u{i:04}", BEFORE - DAY + i) for i in range(BATCH + 5)])
    deleted: list[int] = []

    async def dies(self: Any, connection: Any, batch: Any) -> int:  # noqa: ANN401 - as they come
        if deleted:
            raise Killed
        deleted.append(await whole(self, connection, batch))
        return deleted[-1]

    whole = pruning._Pruning._delete_pods
    monkeypatch.setattr(pruning._Pruning, "_delete_pods", dies)
    with pytest.raises(Killed):
        await prune(ledger, "hub", BEFORE, NOW)
    assert (len(await rows(pods)), await covered(ledger)) == (5, BEFORE)
    monkeypatch.undo()
    assert (await prune(ledger, "hub", BEFORE, NOW)).pods == 5


async def test_usage_in_every_window_is_the_same_after_it(ledger: Ledger) -> None:
    await ledger.record([ran(f"u{i}", BEFORE - DAY + i * HOUR) for i in range(48)])
    since = BEFORE
    before = await ledger.history("hub", since)
    await prune(ledger, "hub", BEFORE, NOW)
    assert await ledger.history("hub", since) == before


async def test_a_hub_that_is_not_known_is_pruned_of_nothing(ledger: Ledger, break_it: Break) -> None:
    await break_it(update(hubs).values(hub="x"))
    assert await prune(ledger, "nowhere", BEFORE, NOW) == Pruned()
