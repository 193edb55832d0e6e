"""The test bed's hub starts real servers' pods, and its fake kubelet's log is what the API server was told."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.control_plane import ControlPlane
from tests.testbed.fake_kubelet import DO, truth
from tests.testbed.hub import HubRunner
from tests.testbed.patience import PATIENCE

pytestmark = [pytest.mark.cluster, pytest.mark.hub]


def pod_of(api: ControlPlane, namespace: str, name: str = "jupyter-alice") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(api.kubectl("get", "pod", name, "-n", namespace, "-o", "json").stdout)
    return found


def until_noted(log: Path, event: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while True:
        found = [line for line in truth(log) if line["event"] == event]
        if found:
            return found[-1]
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)


def until_known(api: ControlPlane, namespace: str) -> None:
    """Until the API server has the restart in its cache: it grants no grace to a pod that it knows as not bound yet."""
    path = f"/api/v1/namespaces/{namespace}/pods/jupyter-alice?resourceVersion=0"
    deadline = time.monotonic() + PATIENCE
    while True:
        status = json.loads(api.kubectl("get", "--raw", path).stdout)["status"]
        if any(container["restartCount"] for container in status.get("containerStatuses", ())):
            return
        assert time.monotonic() < deadline, status
        time.sleep(0.1)


def test_a_user_starts_and_stops_a_server_and_the_log_has_its_life(
    api: ControlPlane, namespace: str, hub: HubRunner, kubelet: Path
) -> None:
    assert hub.launch("alice", profile="small")[-1].get("ready"), hub.program.last_words()
    pod = pod_of(api, namespace)
    assert pod["metadata"]["annotations"]["hub.jupyter.org/username"] == "alice"
    placed = next(c for c in pod["status"]["conditions"] if c["type"] == "PodScheduled")
    assert placed["lastTransitionTime"] == until_noted(kubelet, "scheduled")["at"]
    api.kubectl("annotate", "pod", "jupyter-alice", "-n", namespace, f"{DO}=restart")
    until_noted(kubelet, "restarted")
    until_known(api, namespace)
    hub.end_server("alice")
    until_noted(kubelet, "deleted")
    noted = [line["event"] for line in truth(kubelet)]
    # Whether the hub or the kubelet has the object go first is all the same.
    assert [event for event in noted if event != "removing"] == ["scheduled", "restarted", "finished", "deleted"]
