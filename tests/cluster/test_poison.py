"""Pods of every strange kind: each is recorded, or set aside with an Event and a metric, and its neighbours go on."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubquota.domain.history import HowEnded
from hubquota.domain.pods import micros
from tests.cluster.test_caps import touched
from tests.cluster.test_node_labels import Bench as Recorded
from tests.cluster.test_operator import POLICY, ago, eventually
from tests.testbed.control_plane import NODE, ControlPlane
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster
USER = "hub.jupyter.org/username"
SERVER = "hub.jupyter.org/servername"
GROUPS = "hubquota.dev/groups"
LONG = "p" * 63 + ("." + "p" * 63) * 2 + "." + "p" * 61
#: Pods that nobody can make sense of: what is on them, and what their containers ask for.
SET_ASIDE: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "bad-json": ({USER: "eve", GROUPS: "{"}, {}),
    "no-list": ({USER: "eve", GROUPS: "3"}, {}),
    "no-object": ({"primehub.io/usage": "[]"}, {}),
    "long-user": ({USER: "x" * 256}, {}),
    "nul": ({USER: "eve\0"}, {}),
    "absurd": ({USER: "eve"}, {"cpu": "1e30"}),
    LONG: ({USER: "eve", GROUPS: "{"}, {}),
}


class Bench(Recorded):
    """A hub in which pods of any form are placed."""

    def put(self, name: str, marks: dict[str, str], requests: dict[str, str], at: str, **status: object) -> None:
        container = {"name": "notebook", "image": "i", "resources": {"requests": requests}}
        spec = {"nodeName": NODE, "schedulerName": NODE, "containers": [container]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": marks}, "spec": spec}
        self.create(body)
        placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": at}
        self.objects.report(name, {"phase": "Running", "conditions": [placed]} | status)

    def events(self) -> list[dict[str, Any]]:
        found = self.read("events")["items"]
        return [event for event in found if event["reason"] == "NotMetered"]


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Bench:
    return Bench(api, namespace, tmp_path)


@pytest.fixture
def operator(bench: Bench) -> Iterator[Program]:
    program = bench.started(resync_interval=5)
    bench.create(POLICY)
    yield program
    program.stop()


def goes_on(bench: Bench, operator: Program, user: str) -> None:
    """A neighbour is metered as if nothing were amiss."""
    bench.place(f"jupyter-{user}", user, ago(600))
    eventually(lambda: bench.used_seconds(user) > 0, operator)


def test_what_nobody_can_make_sense_of_is_set_aside_with_one_event_each(bench: Bench, operator: Program) -> None:
    goes_on(bench, operator, "alice")
    for name, (marks, requests) in SET_ASIDE.items():
        bench.put(name, marks, requests, ago(60))
    eventually(lambda: len(bench.events()) == len(SET_ASIDE), operator)
    assert bench.metric("poison_pods_total") == len(SET_ASIDE)
    told = {event["involvedObject"]["name"]: event for event in bench.events()}
    assert told.keys() == SET_ASIDE.keys()
    for name, event in told.items():
        pod = bench.read("pod", name)
        assert event["involvedObject"]["uid"] == pod["metadata"]["uid"]
        assert (event["type"], event["reportingComponent"]) == ("Warning", "hubquota-operator")
        assert f"/{name} is not metered: " in event["message"]
        assert event["message"].isprintable()
        assert bench.record(name) is None
    goes_on(bench, operator, "bob")


def test_of_one_pod_one_event_is_written_also_after_a_restart_and_with_another_fault(
    bench: Bench, operator: Program
) -> None:
    bench.put("bad", {USER: "eve", GROUPS: "{"}, {}, ago(60))
    eventually(lambda: len(bench.events()) == 1, operator)
    bench.killed(operator)
    operator.start()
    eventually(lambda: bench.metric("poison_pods_total") == 1, operator)
    bench.do("annotate", "pod", "bad", f"{GROUPS}=3", "--overwrite")
    eventually(lambda: bench.metric("poison_pods_total") == 2, operator)
    eventually(touched(bench, "bad"), operator)
    goes_on(bench, operator, "alice")
    assert len(bench.events()) == 1


def test_what_is_only_strange_is_recorded(bench: Bench, operator: Program) -> None:
    now = time.time()
    before, later = ago(600), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 86_400))
    bench.put("no-requests", {USER: "nora"}, {}, before)
    bench.put("large", {USER: "lara"}, {"memory": "8E"}, before)
    bench.put("tiny", {USER: "tim"}, {"memory": "1m", "cpu": "1n"}, before)
    bench.put("long-names", {USER: "x" * 255, SERVER: "y" * 255, "hubquota.dev/component": "z" * 10_000}, {}, before)
    bench.put("ahead", {USER: "ada"}, {"memory": "1Gi"}, later)  # its node's clock is a day ahead
    for name, end in (("backwards", ago(6000)), ("tomorrow", later)):
        ended = {"terminated": {"exitCode": 0, "startedAt": end, "finishedAt": end}}
        told = {"name": "notebook", "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": ended}
        bench.put(name, {USER: name}, {"memory": "1Gi"}, before, phase="Succeeded", containerStatuses=[told])
    names = ("no-requests", "large", "tiny", "long-names", "ahead", "backwards", "tomorrow")
    eventually(lambda: all(bench.record(name) is not None for name in names), operator)
    eventually(lambda: all((p := bench.record(n)) and p.finished for n in ("backwards", "tomorrow")), operator)
    kept = {name: bench.record(name) for name in names}
    held = {name: {s.resource: s.request for s in pod.segments} for name, pod in kept.items() if pod is not None}
    assert held["no-requests"] == {"servers": 1000}
    assert held["large"]["memory"] == 8 * 10**18
    assert held["tiny"] == {"memory": 1, "cpu": 1, "servers": 1000}
    assert kept["ahead"] is not None
    assert kept["ahead"].scheduled == micros(later)
    for name in ("backwards", "tomorrow"):  # S29: when it was heard, not before it began nor in the future
        pod = kept[name]
        assert pod is not None
        assert pod.end is not None
        assert pod.end.how is HowEnded.RECEIPT
        assert micros(before) <= pod.end.at <= time.time() * 1_000_000
    assert bench.events() == []
    assert bench.metric("poison_pods_total") == 0
    goes_on(bench, operator, "alice")
