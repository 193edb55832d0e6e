"""What a kubelet reads in a pod, and the statuses that it tells."""

import calendar
import time
from typing import Any, Final

from tests.testbed.lives import Step
from tests.testbed.rest import Json

_IMAGE: Final = {"image": "fake", "imageID": "fake"}
_OVER: Final = ("Succeeded", "Failed")
_EVICTED: Final = {"reason": "Evicted", "message": "The node was low on resource: memory."}
_REJECTED: Final = {"reason": "UnexpectedAdmissionError", "message": "Pod was rejected: a device is gone."}


def version(pod: Json) -> int:
    """How new this sight of a pod is: Kubernetes 1.34 promises that versions can be compared."""
    return int(pod["metadata"]["resourceVersion"])


def generation(pod: Json) -> int:
    """It changes whenever somebody asks for something else of the pod."""
    return int(pod["metadata"].get("generation", 0))


def running(pod: Json) -> bool:
    """Whether it was told that the pod's containers have started."""
    return _phase(pod) == "Running"


def over(pod: Json) -> bool:
    """Whether it was told that the pod's containers have ended for good."""
    return _phase(pod) in _OVER


def deleted(pod: Json) -> bool:
    """Whether the pod was told to go."""
    return "deletionTimestamp" in pod["metadata"]


def asked_to_go(pod: Json) -> str:
    """When the pod was told to go: its deletion timestamp is when it should be gone."""
    meta = pod["metadata"]
    due = calendar.timegm(time.strptime(meta["deletionTimestamp"], "%Y-%m-%dT%H:%M:%SZ"))
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(due - meta.get("deletionGracePeriodSeconds", 0)))


def restarts(pod: Json) -> int:
    """How often it was told that the first container was started again."""
    return max((int(status["restartCount"]) for status in _statuses(pod)), default=0)


def wanted(pod: Json) -> dict[str, Any]:
    """What the containers should have, by container and resource."""
    return {c["name"]: (c.get("resources") or {}).get("requests", {}) for c in pod["spec"]["containers"]}


def resized(pod: Json) -> bool:
    """Whether a container that runs should have something else than was told to be in force."""
    there = {status["name"]: status.get("resources") or {} for status in _statuses(pod)}
    return any(there[c["name"]] != (c.get("resources") or {}) for c in pod["spec"]["containers"] if c["name"] in there)


def binding(pod: Json, node: str) -> Json:
    """That a pod goes onto a node, if it is this pod still."""
    meta = {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": meta,
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


def placed(at: str) -> Json:
    """A node was found for the pod."""
    return {"conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at}]}


def started(pod: Json, placed_at: str, at: str, address: str) -> Json:
    """All containers run."""
    told = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": placed_at}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": at}
    return told | {"conditions": [ready]} | _containers(pod, {"running": {"startedAt": at}}, ready=True)


def crashed(pod: Json, at: str) -> Json:
    """A container has ended, and will be started again."""
    ended = {"exitCode": 137, "reason": "OOMKilled", "startedAt": at, "finishedAt": at}
    return _containers(pod, {"running": None, "terminated": ended}, ready=False, count=restarts(pod))


def restarted(pod: Json, at: str, count: int) -> Json:
    """It was started again, for the ``count``-th time."""
    return _containers(pod, {"terminated": None, "running": {"startedAt": at}}, ready=True, count=count)


def in_force(pod: Json) -> Json:
    """The containers have what they should have."""
    return _containers(pod, {}, ready=True, count=restarts(pod))


def ended(pod: Json, step: Step, at: str) -> Json:
    """The pod is over; ``at``: when its containers ended, which is not told of a pod that was rejected."""
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": at}
    if step is Step.REJECT:
        return {"phase": "Failed", "conditions": [unready], "containerStatuses": None} | _REJECTED
    code = {Step.FINISH: 0, Step.FAIL: 1}.get(step, 137)
    told = {"phase": "Failed" if code else "Succeeded", "conditions": [unready]}
    state = {"running": None, "terminated": {"exitCode": code, "startedAt": at, "finishedAt": at}}
    ends = _containers(pod, state, ready=False, count=restarts(pod), over=True)
    return told | (_EVICTED if step is Step.EVICT else {}) | ends


def never_ran(pod: Json) -> Json:
    """The pod is over, and nothing is known of its containers: as a kubelet tells of those that it never started."""
    unknown = {"exitCode": 137, "reason": "ContainerStatusUnknown"}
    return {"phase": "Failed"} | _containers(pod, {"terminated": unknown}, ready=False, over=True)


def _containers(pod: Json, state: Json, *, ready: bool, count: int = 0, over: bool = False) -> Json:
    """The same of each container; what is in force is told until it is over."""
    told = _IMAGE | {"ready": ready, "restartCount": count, "state": state}
    return {
        "containerStatuses": [
            {"name": c["name"]} | told | ({"resources": c["resources"]} if c.get("resources") and not over else {})
            for c in pod["spec"]["containers"]
        ]
    }


def _statuses(pod: Json) -> list[Json]:
    found: list[Json] = (pod.get("status") or {}).get("containerStatuses") or []
    return found


def _phase(pod: Json) -> str:
    return str((pod.get("status") or {}).get("phase", ""))
