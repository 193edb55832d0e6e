"""What became of a pod is read from what hub and fake kubelet wrote down, whoever of them was away when it went."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.storm import truth
from tests.storm.plans import Plan, Way
from tests.storm.truth import Truth
from tests.testbed.lives import Life

SECOND = 1_000_000
PLAN = Plan(1, Way.DELETED, 0, "jupyter-a", "alice", "", (), 64, 100, Life())
#: Events at seconds since 1970; the API server was told the instants ``at`` in whole seconds.
MADE = [("event", "created", 10.1)]
PLACED = [("event", "scheduled", 10.2), ("told", "scheduled", 11.3)]
ENDED = [("event", "finished", 20.4), ("told", "finished", 20.6)]
DELETED = [("event", "deleting", 20.2), ("told", "deleting", 20.3)]
GONE = [("event", "deleted", 25.9)]


def of(folder: Path, hub: list[tuple[str, str, float]], kubelet: list[tuple[str, str, float]]) -> Truth:
    for name, entries in (("hub", hub), ("kubelet", kubelet)):
        told: list[dict[str, Any]] = [
            {kind: event, "uid": "u", "pod": "jupyter-a", "plan": 1, "time": at, "at": f"1970-01-01T00:00:{int(at)}Z"}
            for kind, event, at in entries
        ]
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in told))
    (found,) = truth.read(folder / "hub", folder / "kubelet", [PLAN])
    return found


def test_what_was_told_is_in_whole_seconds_and_when_it_was_told_is_not(tmp_path: Path) -> None:
    found = of(tmp_path, [*MADE, *DELETED], [*PLACED, *ENDED, ("event", "removing", 20.7), *GONE])
    assert (found.scheduled, found.scheduled_told) == (10 * SECOND, 11_300_000)
    assert (found.finished, found.finished_told) == (20 * SECOND, 20_600_000)
    assert (found.leaving, found.gone) == (20_700_000, 25_900_000)
    assert (found.ended, found.over_by) == (20 * SECOND, 20_600_000)


@pytest.mark.parametrize(
    ("hub", "kubelet", "leaving"),
    [
        (DELETED, [*PLACED, *GONE], 20_200_000),
        ([("event", "forcing", 20.2), ("told", "forcing", 20.3)], PLACED, 20_200_000),
        ([("event", "deleting", 11.0), ("told", "deleting", 11.5)], PLACED, 11_000_000),
        ([("event", "deleting", 21.0), ("told", "deleting", 21.5)], [*PLACED, *ENDED, *GONE], 21_000_000),
        ([], [*PLACED, *ENDED], None),
    ],
    ids=["granted no grace", "forced", "not bound yet", "over already", "not deleted"],
)
def test_a_pod_may_be_gone_from_when_somebody_may_have_taken_it_away(
    tmp_path: Path, hub: list[tuple[str, str, float]], kubelet: list[tuple[str, str, float]], leaving: int | None
) -> None:
    assert of(tmp_path, [*MADE, *hub], kubelet).leaving == leaving


def test_a_pod_of_which_nothing_is_told_lives(tmp_path: Path) -> None:
    found = of(tmp_path, MADE, PLACED)
    assert (found.ended, found.over_by) == (None, None)
