"""Launches on a real hub with a real API server: let through, refused with the full text, and what goes on the pod."""

import json

import pytest

from tests.hub.launching import EVERYONE, applied, eventually, memory, use_up
from tests.testbed.stage import Stage, policy

pytestmark = [pytest.mark.cluster, pytest.mark.hub]


def test_a_first_launch_starts_says_what_is_left_and_marks_its_pod(stage: Stage) -> None:
    stage.apply(memory(40))
    eventually(applied(stage, "memory"), stage)
    stage.hub.launch("alice", profile="small")
    stage.hub.end_server("alice")
    eventually(lambda: bool(stage.get("uq", "alice").get("status", {}).get("quotas")), stage)
    events = stage.hub.launch("alice", profile="small")
    assert events[-1].get("ready"), events
    assert any("GiB-hours left in any 7 days; with this server it lasts" in e["message"] for e in events), events
    marks = stage.get("pod", "jupyter-alice")["metadata"]["annotations"]
    assert json.loads(marks["hubquota.dev/groups"]) == ["students"]
    assert marks["hubquota.dev/instance-type"] == "small"
    assert stage.get("uq", "alice")["spec"]["groups"] == ["students"]


def test_a_used_up_quota_refuses_again_and_again_and_the_hub_lives_on(stage: Stage) -> None:
    use_up(stage, "Ask it@uni.edu")
    for _ in range(6):  # JupyterHub 5 ends itself after five failures in a row
        last = stage.hub.launch("alice")[-1]
        assert last["failed"]
        assert "Your quota is used up" in last["message"]
        assert "It will work again at" in last["message"]
        assert "Ask it@uni.edu" in last["message"]
    assert stage.hub.program.running
    assert stage.hub.launch("bob")[-1].get("ready")


def test_out_of_gpu_hours_still_starts_a_small_server(stage: Stage) -> None:
    gpu = policy(
        "gpu",
        scope=EVERYONE,
        resource="nvidia.com/gpu",
        limit={"value": 0, "unit": "GPU-hours"},
        window={"rolling": "1d"},
    )
    stage.apply(gpu)
    eventually(applied(stage, "gpu"), stage)
    refused = stage.hub.launch("alice", profile="gpu")[-1]
    assert refused["failed"]
    assert "The limit is 0" in refused["message"]
    assert stage.hub.launch("alice", profile="small")[-1].get("ready")


def test_without_an_operator_a_launch_goes_on_and_the_log_says_what_to_mend(stage: Stage) -> None:
    stage.operator.stop()
    stage.api.kubectl("delete", "lease", "hubquota-heartbeat", "-n", stage.namespace)
    assert stage.hub.launch("alice")[-1].get("ready")
    assert "goes on without an answer: the operator's heartbeat is too old or missing" in stage.hub.program.last_words(
        9000
    )
