"""Pods of scenarios as the API server tells them."""

import json
from collections.abc import Mapping
from typing import Any, Final

from hubquota.domain.pods import rfc3339
from tests.scenarios.vocabulary import Json, Pod, instant

USERNAME: Final = "hub.jupyter.org/username"
SERVERNAME: Final = "hub.jupyter.org/servername"


def name_of(pod: Pod, place: int) -> str:
    """Its name: the given one, or one by its place in the scenario."""
    return pod.name or f"jupyter-{place}"


def metadata(pod: Pod, name: str) -> Json:
    """What the hub wrote at its creation."""
    return {"name": name, "annotations": dict(_marks(pod) if pod.marks is None else pod.marks)}


def spec(pod: Pod, asks: Mapping[str, str]) -> Json:
    """What it is made of; names and images are no scenario's business."""
    told: Json = {"containers": [{"resources": resources(asks)}]} if pod.spec is None else dict(pod.spec)
    for kind in ("containers", "initContainers"):
        if kind in told:
            told[kind] = [{"name": f"{kind.lower()}-{i}", "image": "i"} | dict(c) for i, c in enumerate(told[kind])]
    return told


def resources(asks: Mapping[str, str]) -> Json:
    """Requests; of extended resources the limit is the same, as the API server demands."""
    extended = {name: amount for name, amount in asks.items() if "/" in name}
    return {"requests": dict(asks)} | ({"limits": extended} if extended else {})


def running_status(pod: Pod, now: int) -> Json:
    """Where it was while it lived. A pod that was never placed waits."""
    if pod.since is None:
        return {"phase": "Pending"} | dict(pod.status or {})
    placed = {
        "type": "PodScheduled",
        "status": "True",
        "lastTransitionTime": rfc3339(instant(pod.since, now)),
    }
    told = dict(pod.status or {})
    return {"phase": "Running"} | told | {"conditions": [placed, *told.get("conditions", ())]}


def finished_status(made: Json, phase: str, end: int) -> Json:
    """What a kubelet tells at the end of all containers."""
    ends = [container_status(c["name"], {"terminated": terminated(rfc3339(end))}) for c in made["containers"]]
    return {"phase": phase, "containerStatuses": ends}


def container_status(name: str, state: Json, restarts: int = 0) -> Json:
    """One container's state."""
    return {"name": name, "image": "i", "imageID": "i", "ready": False, "restartCount": restarts, "state": state}


def terminated(end: str, code: int = 0) -> Json:
    """A container that ended."""
    return {"exitCode": code, "startedAt": end, "finishedAt": end}


def _marks(pod: Pod) -> dict[str, Any]:
    marks = {"hubquota.dev/groups": json.dumps(list(pod.groups), ensure_ascii=False)}
    if pod.user is not None:
        marks |= {USERNAME: pod.user, SERVERNAME: pod.server}
    optional = {"group": pod.chosen, "instance-type": pod.profile}
    return marks | {f"hubquota.dev/{key}": value for key, value in optional.items() if value}
