"""No query that the ledger is asked while it runs reads all pods: each one's plan, with 20,000 pods there."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest
from sqlalchemy import event, insert

from hubquota.domain.history import DecisionKind, DecisionRecord, HowEnded, Membership, PodEnd
from hubquota.domain.windows import DAY, HOUR
from hubquota.ledger import Ledger
from hubquota.ledger.pruning import prune
from hubquota.ledger.renaming import rename
from hubquota.ledger.rows import batches, digest
from hubquota.ledger.tables import pods
from tests.ledger.pods import holding, pod

PODS: Final = 20_000
NOW: Final = 1000 * DAY
USERS: Final = 500


async def _drained(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass


#: All that an operator, a command that only reads, and a prune ask of the ledger.
QUERIES: Final[dict[str, Callable[[Ledger], Awaitable[object]]]] = {
    "open pods": lambda ledger: ledger.open_pods("hub"),
    "open uids": lambda ledger: ledger.open_uids("hub"),
    "start, digests": lambda ledger: _drained(ledger.digests("hub", NOW - 7 * DAY, NOW)),
    "start, the rest": lambda ledger: _drained(ledger.rest("hub", NOW - 7 * DAY, NOW - HOUR)),
    "since": lambda ledger: _drained(ledger.pods_since("hub", NOW - 7 * DAY)),
    "of a user": lambda ledger: ledger.pods_of("hub", "user-7", NOW - 7 * DAY),
    "of nobody": lambda ledger: ledger.pods_of("hub", None, NOW - 7 * DAY),
    "observations": lambda ledger: ledger.record([pod(f"u{i}", NOW) for i in range(20)]),
    "last seen": lambda ledger: ledger.touch_last_seen(["u1", "u2"], NOW),
    "missing": lambda ledger: ledger.end_missing("hub", [], NOW, NOW),
    "groups at an instant": lambda ledger: ledger.groups_at("hub", NOW),
    "groups of users": lambda ledger: ledger.groups_of("hub", ["user-1"]),
    "memberships": lambda ledger: ledger.record_membership(Membership("hub", "user-1", frozenset("a"), NOW)),
    "decisions of a user": lambda ledger: ledger.decisions_of("hub", "user-1", 0, NOW),
    "decisions by policy": lambda ledger: ledger.decision_counts("hub"),
    "users present": lambda ledger: ledger.users_present("hub"),
    "a decision": lambda ledger: ledger.record_decisions(_decision()),
    "hubs": lambda ledger: ledger.hubs(),
    "users": lambda ledger: ledger.users("hub"),
    "policies": lambda ledger: ledger.policy_revisions("hub"),
    "prune": lambda ledger: prune(ledger, "hub", 800 * DAY, NOW),
    "rename": lambda ledger: rename(ledger, "hub", "user-3", "new", merge=False, at=NOW, by="ann"),
}


def _decision() -> DecisionRecord:
    return DecisionRecord("d", "hub", "alice", "", DecisionKind.REFUSED, NOW, {}, ())


@pytest.fixture(scope="module")
def pods_rows() -> list[dict[str, Any]]:
    """Rows of pods that ended in the course of 200 days, and a few that run."""
    made = []
    for i in range(PODS):
        end = NOW - (i * 200 * DAY) // PODS - HOUR
        told = pod(
            f"u{i:06}",
            end,
            user=f"user-{i % USERS}",
            scheduled=end - HOUR,
            end=None if i % 1000 == 0 else PodEnd(end, HowEnded.CONTAINERS),
            segments=holding(end - HOUR, {"memory": 1}, None if i % 1000 == 0 else end),
        )
        finished = None if told.end is None else told.end.at
        how = None if told.end is None else told.end.how
        made.append(_row(told) | {"finished": finished, "how_ended": how, "digest": digest(told)})
    return made


def _row(told: Any) -> dict[str, Any]:  # noqa: ANN401 - a record
    alike = {c.name: getattr(told, c.name) for c in pods.columns if hasattr(told, c.name)}
    return alike | {"estimated": False, "bound": None}


@pytest.fixture
async def full(ledger: Ledger, pods_rows: list[dict[str, Any]]) -> Ledger:
    """A ledger with all of them, whose database knows what is in it."""

    async def fill(connection: Any) -> None:  # noqa: ANN401 - as ``writing`` takes it
        for batch in batches(pods_rows):
            await connection.execute(insert(pods), batch)
        await connection.exec_driver_sql("ANALYZE")

    await ledger.writing(fill)
    return ledger


async def _plans(ledger: Ledger, statements: list[tuple[str, Any]]) -> list[str]:
    found = []
    async with ledger.reading() as connection:
        sqlite = connection.dialect.name == "sqlite"
        for statement, parameters in statements:
            plan = await connection.exec_driver_sql(
                f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{statement}", parameters or ()
            )
            found += [f"{line[-1] if sqlite else line[0]}  <- {statement[:90]}" for line in plan]
    return found


def scans(plan: str, dialect: str) -> bool:
    """Whether a step of a plan reads all of the table ``pods``, or all of one of its indexes."""
    step = plan.partition("  <- ")[0]
    if dialect == "sqlite":
        # By its hub alone is all of the hub.
        return step.startswith("SCAN pods") or (step.startswith("SEARCH pods") and step.endswith("AND hub=?)"))
    return "Seq Scan on pods" in step


async def test_nothing_that_is_asked_while_it_runs_reads_all_pods(full: Ledger) -> None:
    dialect = full._engine.dialect.name
    faults = []
    for name, ask in QUERIES.items():
        asked: list[tuple[str, Any]] = []

        def noted(_c: object, _k: object, statement: str, parameters: Any, _x: object, many: bool) -> None:  # noqa: ANN401
            if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
                asked.append((statement, parameters[0] if many else parameters))  # noqa: B023

        event.listen(full._engine.sync_engine, "before_cursor_execute", noted)
        await ask(full)
        event.remove(full._engine.sync_engine, "before_cursor_execute", noted)
        assert asked, name
        faults += [f"{name}: {plan}" for plan in await _plans(full, _once(asked)) if scans(plan, dialect)]
    assert faults == []


def _once(asked: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Each statement once, with the parameters that it first had."""
    return list({statement: (statement, parameters) for statement, parameters in reversed(asked)}.values())


async def test_decisions_of_a_user_are_found_by_user_and_time(full: Ledger) -> None:
    for which, index in (
        ("\"user\" = 'alice' AND at > 5", "ix_decisions_hub_user_at"),
        ("at < 5 AND at > 1", "ix_decisions_hub_at"),
    ):
        query = f"SELECT id FROM decisions WHERE cluster = 'default' AND hub = 'hub' AND {which}"
        if full._engine.dialect.name == "sqlite":
            assert index in " ".join(await _plans(full, [(query, ())]))


@pytest.mark.parametrize("which", ["image = 'x'", "cluster = 'default' AND hub = 'hub' AND image = 'x'"])
async def test_a_scan_would_be_noticed(full: Ledger, which: str) -> None:
    plans = await _plans(full, [(f"SELECT uid FROM pods WHERE {which}", ())])
    assert any(scans(plan, full._engine.dialect.name) for plan in plans)
