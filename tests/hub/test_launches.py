"""Launches on a real hub with a real API server: let through, refused with the full text, and what goes on the pod."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.control_plane import ControlPlane
from tests.testbed.environments import HUBS, hub_python
from tests.testbed.stage import Stage, policy

pytestmark = [pytest.mark.cluster, pytest.mark.hub]
EVERYONE = {"everyone": True}


@pytest.fixture(params=HUBS, ids=[f"JupyterHub {major}" for major in HUBS])
def stage(api: ControlPlane, namespace: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """Everything together, with each JupyterHub that the hook serves."""
    made = Stage(api, namespace, tmp_path / "stage", python=hub_python(request.param))
    try:
        made.start()
        yield made
    finally:
        made.stop()


def eventually(check: Callable[[], bool], stage: Stage, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, stage.operator.last_words() + stage.hub.program.last_words()
        time.sleep(0.1)


def memory(value: object, unit: str = "GiB-hours", window: str = "7d", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    limit = {"value": value, "unit": unit}
    return policy("memory", scope=EVERYONE, resource="memory", limit=limit, window={"rolling": window}, **more)


def used(stage: Stage) -> float:
    quotas = stage.get("uq", "alice").get("status", {}).get("quotas") or [{"used": 0}]
    return float(quotas[0]["used"])


def applied(stage: Stage, name: str) -> Callable[[], bool]:
    return lambda: bool(stage.get("qp", name).get("status"))


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


def test_a_used_up_quota_refuses_on_every_surface_and_the_hub_lives_on(stage: Stage) -> None:
    stage.apply(memory(1, "MiB-hours", message="Ask it@uni.edu"))
    assert stage.hub.launch("alice")[-1].get("ready")
    # Well beyond: the end that a kubelet tells is cut to whole seconds.
    eventually(lambda: used(stage) > 1.5, stage)
    stage.hub.end_server("alice")
    eventually(lambda: stage.get("uq", "alice")["status"]["running"] == [], stage)
    for _ in range(6):  # JupyterHub 5 ends itself after five failures in a row
        last = stage.hub.launch("alice")[-1]
        assert last["failed"]
        assert "Your quota is used up" in last["message"]
        assert "It will work again at" in last["message"]
        assert "Ask it@uni.edu" in last["message"]
        assert "<time datetime=" in last.get("html_message", "<time datetime=")
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
