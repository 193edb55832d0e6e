"""A refusal is explained later as it was then: policies, groups, pods and what was told may all have changed since."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.telling import quota, told
from tests.cluster.test_decisions import Bench
from tests.cluster.test_operator import HUBQUOTA, POLICY, ago, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster
TINY = POLICY["spec"] | {"scope": {"groups": ["students"]}, "limit": {"value": "0.1", "unit": "GiB-hours"}}


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Bench:
    return Bench(api, namespace, tmp_path)


@pytest.fixture
def operator(bench: Bench) -> Iterator[Program]:
    program = bench.started(resync_interval=5)
    yield program
    program.stop()


def explained(bench: Bench, *more: str) -> dict[str, Any]:
    command = [str(HUBQUOTA), "explain", "alice", "--hub", bench.namespace, "--output", "json", *more]
    env = {"HUBQUOTA_DATABASE_URL": bench.database}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def belongs(bench: Bench, group: str, at: str) -> None:
    spec = {"spec": {"groups": [group], "groupsObservedAt": at}}
    bench.do("patch", "uq", "alice", "--type=merge", "-p", json.dumps(spec))


def test_a_refusal_is_explained_as_it_was_when_it_was(bench: Bench, operator: Program) -> None:
    made = bench.create(POLICY | {"spec": TINY})
    bench.user_quota("alice", "alice")
    belongs(bench, "students", ago(0))
    bench.place("jupyter-alice", "alice", ago(900))
    eventually(lambda: bench.status("alice").get("decision") == "Denied", operator)
    then = bench.status("alice")
    said = told("alice", "refused", quota("weekly", made["metadata"]["uid"]))
    bench.tell(said)
    eventually(lambda: len(bench.kept()) == 1, operator)

    after = ago(-1)  # it is told in whole seconds, cut
    bench.end("jupyter-alice", after)
    bench.do("patch", "qp", "weekly", "--type=merge", "-p", json.dumps({"spec": {"limit": {"value": 40}}}))
    eventually(lambda: bench.status("alice")["quotas"][0]["limit"] == "40", operator)
    belongs(bench, "staff", after)
    eventually(lambda: bench.status("alice")["quotas"] == [], operator)
    bench.do("delete", "qp", "weekly")
    bench.do("delete", "pod", "jupyter-alice", "--grace-period=0", "--force")
    eventually(lambda: explained(bench)["policies"] == [], operator)

    found = explained(bench, "--at", then["asOf"])
    assert (found["groups"], found["status"]["decision"]) == (["students"], "Denied")
    [state], [was] = found["status"]["quotas"], then["quotas"]
    assert {k: state[k] for k in ("used", "limit", "perHour", "blocked")} == {
        k: was[k] for k in ("used", "limit", "perHour", "blocked")
    }
    assert [c["runs"] for c in found["quotas"][0]["counted"]] == [True]
    assert [(p["name"], p["generation"]) for p in found["policies"]] == [("weekly", 1)]
    assert [(d["id"], d["reason"]) for d in found["decisions"]] == [(said["id"], said["reason"])]
