"""What people read follows what happens, at the cost of few writes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.test_caps import Watched
from tests.cluster.test_operator import POLICY, ago, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster
GOOD = POLICY["spec"]


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Watched:
    return Watched(api, namespace, tmp_path)


def limit(bench: Watched, value: object) -> None:
    bench.do("patch", "qp", "weekly", "--type=merge", "-p", json.dumps({"spec": {"limit": {"value": value}}}))


def statuses(bench: Watched) -> dict[str, dict[str, Any]]:
    return {i["metadata"]["name"]: i for i in bench.read("uq")["items"]}


def finished(bench: Watched, user: str, seconds: int) -> None:
    """A server of 1 GiB that ran so long and ended a minute ago."""
    bench.place(f"jupyter-{user}", user, ago(60 + seconds))
    bench.end(f"jupyter-{user}", ago(60))


def resynced(bench: Watched, program: Program) -> None:
    """Wait until the operator has listed the pods once more."""
    before = bench.metric("resync_timestamp_seconds")
    eventually(lambda: bench.metric("resync_timestamp_seconds") > before, program)


def enforced(bench: Watched) -> Callable[[], bool]:
    def check() -> bool:
        found = bench.read("qp", "weekly")
        told = bench.condition("qp", "weekly", "Enforced")
        return told.get("status") == "True" and told["observedGeneration"] == found["metadata"]["generation"]

    return check


def test_an_idle_hub_writes_nothing_and_a_restart_only_what_is_not_true(bench: Watched) -> None:
    bench.create(POLICY)
    for user in ("alice", "bob"):
        finished(bench, user, 600)
    operator = bench.started(resync_interval=5)
    try:
        eventually(lambda: len(bench.names()) == 2 and enforced(bench)(), operator)
        resynced(bench, operator)
        written = [bench.metric("statuses_written_total", kind=k) for k in ("userquotas", "quotapolicies")]
        resynced(bench, operator)
        resynced(bench, operator)
        assert written == [bench.metric("statuses_written_total", kind=k) for k in ("userquotas", "quotapolicies")]
        before = statuses(bench)
        operator.stop()
        bench.do("delete", "pod", "jupyter-bob", "--grace-period=0")
        finished(bench, "bob", 1200)
        operator.start()
        eventually(lambda: bench.used_seconds("bob") > 1700, operator)
        eventually(lambda: bench.metric("heartbeat_timestamp_seconds") > 0, operator)
        after = statuses(bench)
        assert after["alice"]["metadata"]["resourceVersion"] == before["alice"]["metadata"]["resourceVersion"]
        assert after["bob"]["metadata"]["resourceVersion"] != before["bob"]["metadata"]["resourceVersion"]
    finally:
        operator.stop()


def test_a_status_that_is_believed_at_a_restart_is_compared_once_the_hub_is_served(bench: Watched) -> None:
    bench.create(POLICY)
    for user in ("alice", "bob"):
        finished(bench, user, 600)
    operator = bench.started(heartbeat_interval=1)
    try:
        eventually(lambda: len(bench.names()) == 2 and enforced(bench)(), operator)
        eventually(lambda: "hubquota.dev/reflects" in json.dumps(bench.read("lease", "hubquota-heartbeat")), operator)
        operator.stop()
        told = json.dumps({"status": {"summary": "nonsense"}})
        bench.do("patch", "uq", "alice", "--subresource=status", "--type=merge", "-p", told)
        before = statuses(bench)
        operator.start()
        eventually(lambda: bench.status("alice")["summary"] != "nonsense", operator)
        eventually(lambda: bench.metric("heartbeat_timestamp_seconds") > 0, operator)
        assert statuses(bench)["bob"] == before["bob"]
        # The policies count everybody, also whom nothing was written of.
        eventually(lambda: bench.metric("statuses_written_total", kind="quotapolicies") > 0, operator)
        eventually(lambda: bench.condition("qp", "weekly", "Enforced")["status"] == "True", operator)
        assert bench.read("qp", "weekly")["status"]["users"] == 2
    finally:
        operator.stop()


def test_an_edit_that_touches_many_is_told_first_to_those_whom_it_stops(bench: Watched) -> None:
    bench.create(POLICY)
    for i in range(40):
        finished(bench, f"user{i:02}", 3600 if i % 8 == 7 else 36)
    operator = bench.started()
    try:
        eventually(lambda: len(bench.names()) == 40 and enforced(bench)(), operator)
        assert all(uq.get("status", {}).get("decision") for uq in statuses(bench).values())
        limit(bench, "0.5")
        eventually(enforced(bench), operator)
        order = sorted(statuses(bench).items(), key=lambda item: str(item[1]["status"]["asOf"]))
        denied = [place for place, (_, uq) in enumerate(order) if uq["status"]["decision"] == "Denied"]
        assert len(denied) == 5
        # Eight are written at a time.
        assert max(denied) < 5 + 2 * 8
    finally:
        operator.stop()


def test_a_membership_that_changes_while_a_server_runs_counts_at_once_with_all_that_was_used(
    bench: Watched,
) -> None:
    spec = GOOD | {"scope": {"groups": ["students"]}, "limit": {"value": "0.1", "unit": "GiB-hours"}}
    bench.create(POLICY | {"spec": spec})
    bench.place("jupyter-alice", "alice", ago(600))
    operator = bench.started()
    try:
        eventually(lambda: bench.status("alice").get("summary") == "no limit", operator)
        groups = {"spec": {"groups": ["students"], "groupsObservedAt": ago(0)}}
        bench.do("patch", "uq", "alice", "--type=merge", "-p", json.dumps(groups))
        eventually(lambda: bench.status("alice")["decision"] == "Denied", operator)
        [quota] = bench.status("alice")["quotas"]
        assert (quota["group"], float(quota["used"]) > 0.16) == ("students", True)
    finally:
        operator.stop()


def test_a_policy_that_is_deleted_frees_and_one_that_is_made_again_counts_the_window_that_has_passed(
    bench: Watched,
) -> None:
    bench.create(POLICY | {"spec": GOOD | {"limit": {"value": "0.1", "unit": "GiB-hours"}}})
    finished(bench, "alice", 600)
    operator = bench.started()
    try:
        eventually(lambda: bench.status("alice").get("decision") == "Denied", operator)
        bench.do("delete", "qp", "weekly")
        eventually(lambda: bench.status("alice")["summary"] == "no limit", operator)
        bench.create(POLICY | {"spec": GOOD | {"window": {"rolling": "60d"}}})
        eventually(lambda: bench.used_seconds("alice") > 590, operator)
    finally:
        operator.stop()


def test_a_policy_says_what_an_admin_should_know_of_it(bench: Watched) -> None:
    bench.place("jupyter-alice", "alice", ago(600))
    policies = {
        "weekly": GOOD,
        "looser": GOOD | {"limit": {"value": 50, "unit": "GiB-hours"}},
        "cpu": GOOD | {"resource": "cpu", "limit": {"value": 50, "unit": "CPU-hours"}},
        "names": GOOD | {"scope": {"users": ["Alice", "alice"]}, "window": {"rolling": "1d"}},
        "rest": GOOD | {"scope": {"fallback": True}},
        "sum": GOOD | {"combine": "Sum", "window": {"rolling": "2d"}},
        "max": GOOD | {"combine": "Max", "window": {"rolling": "2d"}},
        "credits": GOOD
        | {
            "resource": "credits",
            "limit": {"value": 50, "unit": "credits"},
            "weights": [{"resource": "cpu", "perHour": 1}],
        },
    }
    for name, spec in policies.items():
        bench.create(POLICY | {"metadata": {"name": name}, "spec": spec})
    operator = bench.started()
    try:
        expected = {
            "weekly": set(),
            "looser": {"Ineffective"},
            "cpu": {"NothingMetered"},
            "names": {"UnknownNames"},
            "rest": {"Ineffective"},
            "sum": {"Conflict"},
            "max": {"Conflict"},
            "credits": {"NothingMetered", "Unweighted"},
        }

        def told() -> dict[str, set[str]]:
            items = bench.read("qp")["items"]
            return {
                i["metadata"]["name"]: {
                    c["type"]
                    for c in i.get("status", {}).get("conditions", [])
                    if c["status"] == "True" and c["type"] not in ("Ready", "Enforced")
                }
                for i in items
            }

        eventually(lambda: told() == expected, operator)
        heaviest = bench.read("qp", "weekly")["status"]["heaviest"]
        assert [h["user"] for h in heaviest] == ["alice"]
    finally:
        operator.stop()
