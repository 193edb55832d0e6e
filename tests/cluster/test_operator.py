"""The operator as it is run: a process of its own, killed and started again, beside a real API server."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hubquota.domain.pods import micros
from tests.cluster.rows import Rows
from tests.testbed.control_plane import NODE, ControlPlane
from tests.testbed.manifests import operator_kubeconfig
from tests.testbed.patience import PATIENCE
from tests.testbed.processes import Program
from tests.testbed.rest import Json
from tests.testbed.terms import LASTING, QUICK, Terms, killed

pytestmark = pytest.mark.cluster
HUBQUOTA = Path(sys.executable).with_name("hubquota")
POLICY: dict[str, Any] = {
    "apiVersion": "hubquota.dev/v1alpha1",
    "kind": "QuotaPolicy",
    "metadata": {"name": "weekly"},
    "spec": {
        "scope": {"everyone": True},
        "resource": "memory",
        "limit": {"value": 40, "unit": "GiB-hours"},
        "window": {"rolling": "7d"},
    },
}


class Bench:
    """One namespace with its pods, and operators on it."""

    def __init__(self, api: ControlPlane, namespace: str, folder: Path, database: str | None = None) -> None:
        self.api, self.namespace, self.folder = api, namespace, folder
        self.database = database or f"sqlite:///{folder}/ledger.db"
        self.objects = api.objects(namespace)

    def operator(self, name: str = "operator", terms: Terms = LASTING) -> Program:
        """An operator of this namespace; all share one ledger."""
        env = {
            "KUBECONFIG": str(operator_kubeconfig(self.api, self.namespace)),
            "HUBQUOTA_HUB_NAMESPACES": json.dumps([self.namespace]),
            "HUBQUOTA_OPERATOR_NAMESPACE": self.namespace,
            "HUBQUOTA_DATABASE_URL": self.database,
        }
        return Program(name, [str(HUBQUOTA), "operator"], self.folder / f"{name}.log", {**env, **terms})

    def killed(self, operator: Program) -> None:
        """End an operator as a power cut would; the next one need not wait for its Lease."""
        killed(self.api, operator)

    def do(self, *args: str, body: object = None) -> str:
        done = self.api.kubectl("-n", self.namespace, *args, stdin=None if body is None else json.dumps(body))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def read(self, kind: str, name: str = "") -> Json:
        """An object, or the list of a kind, by the names that kubectl takes; nothing: there is no such object."""
        return self.objects.get(kind, name)

    def create(self, body: Json) -> Json:
        """A new object, as it is kept."""
        return self.objects.create(body)

    def place(self, name: str, user: str, at: str, memory: str = "1Gi") -> None:
        """A pod on a node since ``at``."""
        meta = {"name": name, "annotations": {"hub.jupyter.org/username": user}}
        container = {"name": "notebook", "image": "i", "resources": {"requests": {"memory": memory}}}
        # On its node from the start: a binding would tell an instant of its own, which is metered until ``at`` is told.
        # A scheduler, where there is one, leaves it alone; and its node is there.
        spec = {"nodeName": NODE, "schedulerName": NODE, "containers": [container]}
        self.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": at}
        self.objects.report(name, {"phase": "Running", "conditions": [placed]})

    def end(self, name: str, at: str) -> None:
        """Its last container ended at ``at``."""
        state = {"terminated": {"exitCode": 0, "startedAt": at, "finishedAt": at}}
        status = {"name": "notebook", "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": state}
        self.objects.report(name, {"phase": "Succeeded", "containerStatuses": [status]})

    def status(self, user: str) -> dict[str, Any]:
        found: dict[str, Any] = self.read("uq", user)
        told: dict[str, Any] = found.get("status", {})
        return told

    def used_seconds(self, user: str) -> float:
        """GiB-seconds used, as the status tells them; -1: not yet."""
        quotas = self.status(user).get("quotas") or [{"used": "-1"}]
        return float(quotas[0]["used"]) * 3600


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Bench:
    return Bench(api, namespace, tmp_path)


@pytest.fixture
def operator(bench: Bench) -> Iterator[Program]:
    program = bench.operator()
    program.start()
    yield program
    program.stop()


def eventually(check: Callable[[], bool], program: Program, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert program.running, program.last_words()
        assert time.monotonic() < deadline, program.last_words()
        time.sleep(0.1)


def ago(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))


def test_a_finished_pod_is_charged_from_placement_to_its_last_container_s_end(bench: Bench, operator: Program) -> None:
    bench.create(POLICY)
    start, end = ago(500), ago(100)
    bench.place("jupyter-alice", "alice", start)
    bench.end("jupyter-alice", end)
    charged = (micros(end) - micros(start)) / 1_000_000
    eventually(lambda: abs(bench.used_seconds("alice") - charged) < 0.01, operator)
    assert bench.status("alice")["decision"] == "Allowed"


def test_a_policy_follows_an_edit_at_once_and_says_what_it_is_about(bench: Bench, operator: Program) -> None:
    bench.place("jupyter-alice", "alice", ago(3600))
    bench.create(POLICY)
    eventually(lambda: bench.used_seconds("alice") > 0, operator)
    assert bench.status("alice")["decision"] == "Allowed"
    bench.do("patch", "qp", "weekly", "--type=merge", "-p", '{"spec": {"limit": {"value": "0.5"}}}')
    eventually(lambda: bench.status("alice")["decision"] == "Denied", operator)
    bench.do("delete", "qp", "weekly")
    eventually(lambda: bench.status("alice")["summary"] == "no limit", operator)


def test_an_event_s_policy_counts_from_its_beginning(bench: Bench, operator: Program) -> None:
    start = ago(1800)
    spec = POLICY["spec"] | {"window": {"fixed": {"start": start, "end": ago(-3600)}}}
    bench.place("jupyter-alice", "alice", ago(3600))
    bench.create(POLICY | {"spec": spec})
    eventually(lambda: bench.used_seconds("alice") > 1799, operator)
    assert bench.used_seconds("alice") < 2700
    eventually(lambda: f"from {start[:10]}" in bench.do("get", "qp"), operator)


def test_a_kill_in_the_middle_of_a_server_s_life_changes_no_number(bench: Bench, operator: Program) -> None:
    bench.create(POLICY)
    start = ago(600)
    bench.place("jupyter-alice", "alice", start)
    eventually(lambda: bench.used_seconds("alice") > 0, operator)
    bench.killed(operator)
    end = ago(60)
    bench.end("jupyter-alice", end)
    bench.do("delete", "uq", "alice")
    operator.start()
    charged = (micros(end) - micros(start)) / 1_000_000
    eventually(lambda: abs(bench.used_seconds("alice") - charged) < 0.01, operator)


def test_a_pod_deleted_while_the_operator_was_dead_is_ended_with_an_estimate(bench: Bench, operator: Program) -> None:
    bench.create(POLICY)
    bench.place("jupyter-alice", "alice", ago(600))
    eventually(lambda: len(bench.status("alice").get("running", [])) == 1, operator)
    Rows(bench.database, bench.namespace, operator).open("jupyter-alice")  # the ledger is written after the status
    bench.killed(operator)
    bench.do("delete", "pod", "jupyter-alice", "--grace-period=0", "--force")
    operator.start()
    eventually(lambda: bench.status("alice")["running"] == [], operator)
    assert 590 < bench.used_seconds("alice") < 900


def test_a_restart_never_tells_that_there_is_no_limit(bench: Bench, operator: Program) -> None:
    bench.create(POLICY | {"spec": POLICY["spec"] | {"limit": {"value": 0, "unit": "GiB-hours"}}})
    bench.place("jupyter-alice", "alice", ago(600))
    eventually(lambda: bench.status("alice").get("decision") == "Denied", operator)
    bench.killed(operator)
    before = ago(0)  # a status that it was about to write may still come
    operator.start()
    eventually(lambda: bench.status("alice")["asOf"] > before, operator)
    assert bench.status("alice")["decision"] == "Denied"


def test_of_two_operators_started_by_mistake_one_writes_and_the_other_takes_over(bench: Bench) -> None:
    bench.create(POLICY)
    bench.place("jupyter-alice", "alice", ago(600))
    first, second = bench.operator("first", QUICK), bench.operator("second", QUICK)
    first.start()
    try:
        eventually(lambda: bench.used_seconds("alice") > 0, first)
        second.start()
        eventually(lambda: "waits for the writer's Lease" in second.last_words(), second)
        bench.place("jupyter-bob", "bob", ago(100))
        eventually(lambda: bench.used_seconds("bob") > 0, first)
        assert "is served" not in second.last_words(100_000)
        first.kill()
        bench.place("jupyter-carol", "carol", ago(100))
        eventually(lambda: bench.used_seconds("carol") > 0, second)
    finally:
        first.kill()
        second.stop()


def test_a_stop_is_orderly_and_says_nothing_but_that(bench: Bench, operator: Program) -> None:
    eventually(lambda: "is served" in operator.last_words(), operator)
    operator.stop(PATIENCE)
    log = operator.last_words(100_000)
    assert "told to stop" in log
    assert "Traceback" not in log
    assert "ERROR" not in log
