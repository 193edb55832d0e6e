"""The fake kubelet's log is the truth, also where the kubelet or the API server is killed in the middle."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.control_plane import NODE, ControlPlane
from tests.testbed.edges import lines, truth
from tests.testbed.hub import ROOT
from tests.testbed.lives import LIFE, Life, Step
from tests.testbed.patience import until
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster


class Node:
    """A fake kubelet of one namespace, that can be killed."""

    def __init__(self, api: ControlPlane, namespace: str, folder: Path) -> None:
        self.api, self.namespace, self.log = api, namespace, folder / "kubelet.jsonl"
        self._objects = api.objects(namespace)
        command = [sys.executable, "-m", "tests.testbed.fake_kubelet", str(api.kubeconfig), namespace, str(self.log)]
        self.program = Program("fake-kubelet", command, folder / "fake-kubelet.log", folder=ROOT)

    def pod(self, name: str, life: Life, *finalizers: str) -> None:
        resources = {"requests": {"cpu": "100m", "memory": "64Mi"}}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": {LIFE: life.annotation()}, "finalizers": finalizers},
            "spec": {
                "schedulerName": NODE,
                "containers": [{"name": "notebook", "image": "i", "resources": resources}],
            },
        }
        self._objects.create(body)

    def do(self, *args: str) -> str:
        done = self.api.kubectl("-n", self.namespace, *args)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = self._objects.get("pod", name)["status"]
        return told

    def phase(self, name: str) -> str:
        return str(self.status(name)["phase"])

    def is_placed(self, name: str) -> bool:
        return bool(self._objects.get("pod", name)["spec"].get("nodeName"))

    def edges(self) -> list[str]:
        return [line["event"] for line in truth(self.log)]


@pytest.fixture
def node(api: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Node]:
    found = Node(api, namespace, tmp_path)
    found.program.start()
    yield found
    found.program.stop()


def test_a_life_is_lived_as_it_is_told(node: Node) -> None:
    node.pod("once", Life(steps=((1, Step.RESTART), (2, Step.RESTART), (3, Step.EVICT))))
    until(lambda: node.phase("once") == "Failed")
    told = node.status("once")
    assert (told["reason"], told["containerStatuses"][0]["restartCount"]) == ("Evicted", 2)
    assert told["containerStatuses"][0]["state"]["terminated"]["finishedAt"] == truth(node.log)[-1]["at"]
    assert node.edges() == ["scheduled", "restarted", "restarted", "finished"]


def test_of_a_rejected_pod_and_of_one_that_never_ran_no_end_is_told(node: Node) -> None:
    node.pod("rejected", Life(steps=((0, Step.REJECT),)))
    node.pod("stuck", Life(started=False), "testbed.hubquota.dev/held")
    until(lambda: node.phase("rejected") == "Failed")
    assert "containerStatuses" not in node.status("rejected")
    until(lambda: node.is_placed("stuck"))
    node.do("delete", "pod", "stuck", "--wait=false")
    until(lambda: node.phase("stuck") == "Failed")
    assert node.status("stuck")["containerStatuses"][0]["state"]["terminated"]["finishedAt"] is None
    node.do("patch", "pod", "stuck", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    until(lambda: "deleted" in node.edges())


def test_a_lost_node_lets_nothing_go(node: Node) -> None:
    node.pod("lost", Life(steps=((0, Step.LOSE),)))
    until(lambda: "lost" in node.edges())
    node.do("delete", "pod", "lost", "--wait=false", "--grace-period=1")
    node.pod("another", Life(steps=((1, Step.FINISH),)))
    until(lambda: node.phase("another") == "Succeeded")
    assert node.phase("lost") == "Running"
    node.do("delete", "pod", "lost", "--force", "--grace-period=0")
    until(lambda: "deleted" in node.edges())


def test_a_resize_is_in_force_when_the_kubelet_says_so(node: Node) -> None:
    node.pod("grown", Life())
    until(lambda: node.phase("grown") == "Running")
    wanted = {"spec": {"containers": [{"name": "notebook", "resources": {"requests": {"memory": "128Mi"}}}]}}
    node.do("patch", "pod", "grown", "--subresource=resize", "-p", json.dumps(wanted))
    until(lambda: "resized" in node.edges())
    until(lambda: node.status("grown")["containerStatuses"][0]["resources"]["requests"]["memory"] == "128Mi")


def test_what_was_noted_before_a_kill_is_told_after_it_as_it_was(node: Node) -> None:
    for number in range(20):
        node.pod(f"p{number}", Life(steps=((1, Step.RESTART), (2, Step.FINISH))))
    for _ in range(4):
        before = len(truth(node.log))
        until(lambda before=before: len(truth(node.log)) > min(before, 59))  # type: ignore[misc]
        node.program.kill()
        node.program.start()
    until(lambda: all(node.phase(f"p{number}") == "Succeeded" for number in range(20)))
    noted = {(line["pod"], line["event"]): line["at"] for line in truth(node.log)}
    assert len(truth(node.log)) == len(noted) == 60
    for number in range(20):
        told = node.status(f"p{number}")
        assert told["containerStatuses"][0]["state"]["terminated"]["finishedAt"] == noted[f"p{number}", "finished"]
        assert told["containerStatuses"][0]["restartCount"] == 1
        placed = next(c for c in told["conditions"] if c["type"] == "PodScheduled")
        assert placed["lastTransitionTime"] == noted[f"p{number}", "scheduled"]


def test_a_pod_that_goes_while_the_kubelet_is_down_is_known_to_be_gone_when_it_is_back(node: Node) -> None:
    node.pod("gone", Life())
    until(lambda: node.phase("gone") == "Running")
    node.program.kill()
    node.do("delete", "pod", "gone", "--force", "--grace-period=0")
    node.program.start()
    until(lambda: "deleted" in node.edges())


def test_that_the_api_server_has_an_edge_is_in_the_log_too(node: Node) -> None:
    node.pod("once", Life(steps=((1, Step.FINISH),)))
    until(lambda: [line["told"] for line in lines(node.log) if "told" in line] == ["scheduled", "finished"])


def test_the_end_of_a_pod_is_never_told_of_another_of_its_name(node: Node) -> None:
    node.pod("same", Life(steps=((0, Step.FINISH),)))
    until(lambda: node.phase("same") == "Succeeded")
    node.program.kill()
    node.do("delete", "pod", "same", "--force", "--grace-period=0")
    node.pod("same", Life())
    node.program.start()
    until(lambda: node.phase("same") == "Running")
