"""Whoever is refused can be told why, then and later, from the ledger alone."""

import json
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from hubquota.domain.history import DecidingQuota, DecisionKind, DecisionRecord, Membership, PolicyRevision
from hubquota.domain.windows import DAY, HOUR, SECOND
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


@pytest.fixture
def decided(told: None, filled: Callable[..., None]) -> None:
    at = NEW_YEAR + DAY + 3 * HOUR
    weekly = DecidingQuota("weekly", "u1", "memory", "20", "26.01", "GiB-hours", NEW_YEAR + 8 * DAY)
    pool = DecidingQuota("pool", "u2", "nvidia.com/gpu", "60", "", "GPU-hours")
    request = {"memory": 3 << 29, "cpu": 500, "nvidia.com/gpu": 1000}
    words = "Spawn failed: used up\x1b"
    refused = DecisionRecord(
        "d-1", "hub", "alice", "gpu", DecisionKind.REFUSED, at, request, (weekly, pool), words, "large", "students"
    )
    near = [replace(refused, id=f"n{i}", at=at + i * 600 * SECOND, quotas=(), message="", request={}) for i in (-1, 1)]
    far = [replace(refused, id=f"f{i}", at=at + i * (600 * SECOND + 1)) for i in (-1, 1)]
    others = [replace(refused, id="d-2", user="bob"), replace(refused, id="d-3", hub="other")]
    filled([], decisions=[refused, *near, *far, *others])


@pytest.mark.usefixtures("decided")
def test_a_refusal_is_told_as_it_was_told_then(run: Run) -> None:
    text = run("explain", "alice", "--at", "2026-01-02T03:00:00Z")
    _, _, told = text.partition("decisions within 10 minutes, as they were told\n")
    lines = [re.split(" {3,}", line.strip()) for line in told.splitlines()]
    first = ["2026-01-02T03:00:00Z", "Refused", "gpu", "large", "students", "cpu 0.5, memory 1.5Gi, nvidia.com/gpu 1"]
    assert lines == [
        ["AT", "LAUNCH", "SERVER", "PROFILE", "GROUP", "ASKED FOR", "POLICY", "USED", "WORKS AGAIN"],
        ["2026-01-02T02:50:00Z", "Refused", "gpu", "large", "students"],
        [*first, "weekly", "26 of 20 GiB-hours of memory", "2026-01-09T00:00:00Z"],
        ["pool", "not known of 60 GPU-hours of nvidia.com/gpu"],
        ["2026-01-02T03:10:00Z", "Refused", "gpu", "large", "students"],
        ["2026-01-02T03:00:00Z: Spawn failed: used up\\x1b"],
    ]
    assert "weekly   20 GiB-hours of memory in 7d, each     holds   group students   decides" in text
    assert "1            2026-01-01T00:00:00Z   2026-01-03T00:00:00Z" in text  # the generation of then


@pytest.mark.usefixtures("decided")
def test_programs_read_the_refusal_whole(run: Run) -> None:
    told = json.loads(run("explain", "alice", "--at", "2026-01-02T03:00:00Z", "--output", "json"))
    assert [d["id"] for d in told["decisions"]] == ["n-1", "d-1", "n1"]
    assert told["decisions"][1] == {
        "id": "d-1",
        "at": "2026-01-02T03:00:00Z",
        "kind": "Refused",
        "server": "gpu",
        "profile": "large",
        "group": "students",
        "request": {"memory": 3 << 29, "cpu": 500, "nvidia.com/gpu": 1000},
        "quotas": [
            {"policy": "weekly", "uid": "u1", "resource": "memory", "limit": "20", "used": "26.01", "unit": "GiB-hours"}
            | {"exhaustedUntil": "2026-01-09T00:00:00Z"},
            {"policy": "pool", "uid": "u2", "resource": "nvidia.com/gpu", "limit": "60", "unit": "GPU-hours"},
        ],
        "reason": "Spawn failed: used up\x1b",
    }
    assert {"name": "pool", "generation": 1, "since": "2026-01-01T00:00:00Z"}.items() <= told["policies"][0].items()


@pytest.mark.usefixtures("told")
def test_that_nothing_was_decided_is_told_too(run: Run) -> None:
    text = run("explain", "alice", "--at", "2026-01-02T03:00:00Z")
    assert text.endswith(
        "no launch was refused or warned of within 10 minutes of 2026-01-02T03:00:00Z, as far as is known\n"
    )


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
