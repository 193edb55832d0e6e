"""Whoever is refused can be told why, then and later, from the ledger alone."""

import json
from collections.abc import Callable

import pytest

from hubquota.domain.history import Membership, PolicyRevision
from hubquota.domain.windows import DAY
from tests.cli.conftest import Run
from tests.cli.test_replay import NEW_YEAR, server
from tests.ledger.pods import pod

WEEKLY = {
    "scope": {"groups": ["students"]},
    "resource": "memory",
    "limit": {"value": 20, "unit": "GiB-hours"},
    "window": {"rolling": "7d"},
}
POOL = WEEKLY | {"sharing": "Shared", "limit": {"value": 60, "unit": "GiB-hours"}}


@pytest.fixture
def told(filled: Callable[..., None]) -> None:
    filled(
        [
            server("1", "alice", 0, 10, "students"),
            server("2", "alice", 1, None, "students"),
            server("3", "bob", 0, 5, "students"),
        ],
        [
            PolicyRevision("u1", "hub", "weekly", 1, WEEKLY, NEW_YEAR),
            PolicyRevision(
                "u1", "hub", "weekly", 2, WEEKLY | {"limit": {"value": 99, "unit": "GiB-hours"}}, NEW_YEAR + 2 * DAY
            ),
            PolicyRevision("u2", "hub", "pool", 1, POOL, NEW_YEAR),
            PolicyRevision("u3", "hub", "wrong", 1, {"scope": {}}, NEW_YEAR),
        ],
        [
            Membership("hub", "alice", frozenset({"students"}), NEW_YEAR),
            Membership("hub", "alice", frozenset({"staff"}), NEW_YEAR + 3 * DAY),
            Membership("hub", "bob", frozenset({"students"}), NEW_YEAR),
        ],
    )


@pytest.mark.usefixtures("told")
def test_people_read_what_was_counted_and_what_it_adds_up_to(run: Run) -> None:
    text = run("explain", "alice", "--at", "2026-01-02T03:00:00Z")
    assert text.startswith("alice at 2026-01-02T03:00:00Z: a launch would be denied\n\ngroups: students\n")
    assert "memory: 26 of 20 GiB-hours in 7d (policy weekly, Deny)" in text
    assert "counted from 2025-12-26T03:00:00Z; known since 2025-12-26T03:00:00Z" in text
    assert "jupyter-alice            2026-01-01T00:00:00Z   2026-01-01T10:00:00Z   10      20" in text
    assert "jupyter-alice            2026-01-02T00:00:00Z   runs                   3       6" in text
    assert "sum 26 GiB-hours\n" in text
    assert "sum 26 GiB-hours of the pool's 36" in text
    assert "weekly   20 GiB-hours of memory in 7d, each     holds   group students   decides" in text


@pytest.mark.usefixtures("told")
def test_a_past_instant_is_explained_by_the_policies_and_groups_of_then(run: Run) -> None:
    later = json.loads(run("explain", "alice", "--at", "2026-01-03T12:00:00Z", "--output", "json"))
    assert [q["state"]["limit"] for q in later["quotas"]] == ["99", "60"]
    last = json.loads(run("explain", "alice", "--at", "2026-01-05T00:00:00Z", "--output", "json"))
    assert (last["groups"], last["quotas"]) == (["staff"], [])
    assert [p["why"] for p in last["policies"]] == ["names neither the user nor a group of theirs"] * 2


@pytest.mark.usefixtures("told")
def test_json_adds_up_too(run: Run) -> None:
    told = json.loads(run("explain", "alice", "--at", "2026-01-02T03:00:00Z", "--output", "json"))
    quota = told["quotas"][0]
    assert quota["sum"] == quota["state"]["used"] == "26"
    assert told["status"]["decision"] == "Denied"


@pytest.mark.usefixtures("told")
def test_a_user_whom_nobody_knows_is_told_so(run: Run) -> None:
    assert r"no user “al\x1b”" in run("explain", "al\x1b", fails=True)


def test_of_several_hubs_one_has_to_be_named(run: Run, filled: Callable[..., None]) -> None:
    filled([pod()], hubs=("hub", "other"))
    assert "name one with --hub (hub, other)" in run("explain", "alice", fails=True)
    assert "alice at" in run("explain", "alice", "--hub", "hub")
    assert "name one of hub, other" in run("explain", "alice", "--hub", "third", fails=True)


def test_a_ledger_that_is_not_there_is_not_made(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBQUOTA_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    assert "there is no ledger at /nowhere/at/all.db" in run("explain", "alice", fails=True)
