"""An admin tries policies on a history before anybody is refused."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hubquota.domain.history import HowEnded, PodEnd, PodRecord
from hubquota.domain.windows import DAY, HOUR
from hubquota.files.pod_history import to_line
from tests.cli.conftest import Run
from tests.ledger.pods import holding, pod

NEW_YEAR = 1_767_225_600 * 1_000_000  # 2026-01-01T00:00:00Z
GIB = 2**30


def server(uid: str, user: str, day: float, hours: float | None, *groups: str) -> PodRecord:
    start = NEW_YEAR + int(day * DAY)
    end = None if hours is None else start + int(hours * HOUR)
    made = {"memory": 2 * GIB, "servers": 1000}
    return pod(
        uid,
        start,
        name=f"jupyter-{user}",
        user=user,
        scheduled=start,
        groups=groups,
        segments=holding(start, made, end),
        end=None if end is None else PodEnd(end, HowEnded.CONTAINERS),
    )


@pytest.fixture
def history(tmp_path: Path) -> Path:
    pods = [
        server("1", "alice", 0, 10, "students"),
        server("2", "alice", 1, 4, "students"),
        server("3", "bob\x1b[31m", 0, None, "students"),
        server("4", "carol", 2, 1),
    ]
    file = tmp_path / "pods.jsonl"
    file.write_text("".join(to_line(p) + "\n" for p in pods))
    return file


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    weekly = {
        "scope": {"groups": ["students"]},
        "resource": "memory",
        "limit": {"value": 20, "unit": "GiB-hours"},
        "window": {"rolling": "7d"},
    }
    pool = weekly | {"sharing": "Shared", "limit": {"value": 60, "unit": "GiB-hours"}, "enforcement": "Observe"}
    write(folder / "a.yaml", "weekly", weekly)
    write(folder / "b.yaml", "pool", pool)
    return folder


def write(file: Path, name: str, spec: object) -> None:
    body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "QuotaPolicy", "metadata": {"name": name}, "spec": spec}
    file.write_text(yaml.safe_dump(body))


def test_a_table_tells_where_everybody_would_stand(run: Run, history: Path, policies: Path) -> None:
    told = run("replay", "--pods", history, "--policies", policies, "--at", "2026-01-01T05:00:00Z")
    lines = told.splitlines()
    assert lines[0] == "where everybody stands at 2026-01-01T05:00:00Z"
    assert lines[2].startswith("alice")
    assert "memory: 10 of 20 GiB-hours in 7d, used up from 2026-01-01T10:00:00Z if all keeps running" in lines[2]
    assert lines[3].startswith(r"bob\x1b[31m"), "a name cannot colour the terminal"
    assert any(line.startswith("pool") and "20 of 60 GiB-hours in 7d" in line for line in lines)


def test_the_launches_that_would_have_been_denied_are_told_by_policy(run: Run, history: Path, policies: Path) -> None:
    told = run(
        *("replay", "--pods", history, "--policies", policies),
        *("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-05T00:00:00Z"),
    )
    assert "4 launches, of which 1 would have been denied" in told
    assert "2026-01-02T00:00:00Z   alice   jupyter-alice   weekly     2026-01-08T00:00:01Z" in told


def test_json_tells_all_of_it(run: Run, history: Path, policies: Path) -> None:
    arguments = ("replay", "--pods", history, "--policies", policies, "--output", "json")
    told = json.loads(run(*arguments, "--at", "2026-01-05T00:00:00Z", "--from", "2026-01-01T00:00:00Z"))
    assert told["policies"]["weekly"] == {"enforcement": "Deny", "launches": 1, "users": {"alice": 1}}
    assert told["policies"]["pool"]["launches"] == 1
    assert [d["user"] for d in told["denied"]] == ["alice"]
    assert set(told["users"]) == {"alice", "bob\x1b[31m", "carol"}
    assert told["users"]["carol"]["summary"] == "no limit"
    assert told["pools"]["pool"]["used"] == "220"


def test_groups_may_be_given(run: Run, history: Path, policies: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.json"
    groups.write_text('{"carol": ["students"]}')
    told = run("replay", "--pods", history, "--policies", policies, "--groups", groups, "--at", "2026-01-05T00:00:00Z")
    assert re.search(r"^carol +Allowed +memory: 2 of 20 GiB-hours in 7d", told, re.MULTILINE)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"scope": {}, "resource": "memory", "limit": {"value": 1, "unit": "GiB-hours"}}, "scope must say who: write"),
        ("nonsense", "valid dictionary"),
    ],
)
def test_a_wrong_policy_is_told_what_to_write(
    run: Run, history: Path, policies: Path, spec: object, words: str
) -> None:
    write(policies / "wrong.yaml", "wrong", spec)
    told = run("replay", "--pods", history, "--policies", policies, fails=True)
    assert words in told
    assert "wrong.yaml: wrong" in told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--at", "yesterday"), "write an instant such as 2026-01-31T09:00:00Z"),
        (("--at", "2026-01-31T09:00:00"), "no time zone"),
        (("--groups", "/nowhere.json"), '{"alice": ["students"]}'),
    ],
)
def test_a_wrong_argument_is_told_what_to_write(
    run: Run, history: Path, policies: Path, arguments: tuple[str, ...], words: str
) -> None:
    assert words in run("replay", "--pods", history, "--policies", policies, *arguments, fails=True)


def test_a_folder_without_policies_is_no_folder_of_policies(run: Run, history: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no QuotaPolicy" in run("replay", "--pods", history, "--policies", empty, fails=True)


def test_two_policies_of_one_name_are_one_too_many(run: Run, history: Path, policies: Path) -> None:
    (policies / "c.yaml").write_text((policies / "a.yaml").read_text())
    assert "there are two of this name" in run("replay", "--pods", history, "--policies", policies, fails=True)


def test_what_was_exported_is_replayed(run: Run, filled: Callable[..., None], policies: Path, tmp_path: Path) -> None:
    filled([server("1", "alice", 0, 10, "students"), server("2", "alice", 1, None, "students")])
    target = tmp_path / "out.jsonl"
    assert "2 pods of hub" in run("export", "--to", target)
    told = run("replay", "--pods", target, "--policies", policies, "--at", "2026-01-01T20:00:00Z")
    assert "memory: 20 of 20 GiB-hours in 7d, used up until 2026-01-08T00:00:01Z" in told
    assert "cannot be written" in run("export", "--to", target, fails=True), "nothing is overwritten"
