"""A life as the operator hears of it: the pod as the API server tells it, at the moments of its life that matter."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from hubquota.cluster.observing import Sight
from tests.bench import names
from tests.bench.history import HOUR, HUB, Ending, Life, Told
from tests.bench.profiles import PROFILES

_MICROS: Final = 1_000_000


class Moment(NamedTuple):
    """When a pod was seen. ``gone``: it was told to be deleted for good."""

    at: int
    gone: bool = False


def moments(life: Life, until: int) -> Iterator[Moment]:
    """When the operator hears of a pod, up to ``until``, in their order."""
    yield Moment(life.created)
    if life.placed is not None:
        last = min(at for at in (life.ended, life.gone, until) if at is not None)
        middle = (life.placed + last) // 2
        alive = {life.placed, life.placed + 3, middle, *(at for at, _ in life.resizes)}
        alive |= set() if life.restarted is None else {life.restarted, life.restarted + 1}
        yield from (Moment(at) for at in sorted(alive) if life.placed <= at < last)
        if life.ended is not None and life.ending not in (Ending.DELETED, Ending.NEVER_RAN):
            yield Moment(life.ended)
    if life.gone is not None:
        yield Moment(life.gone, gone=True)


def sight(life: Life, moment: Moment) -> Sight:
    """What the operator hears."""
    return Sight(pod(life, moment.at), moment.at * _MICROS, moment.gone)


def pod(life: Life, at: int) -> dict[str, Any]:
    """The pod as the API server has it at an instant."""
    metadata = {
        "uid": life.uid,
        "namespace": HUB,
        "name": life.name,
        "annotations": _annotations(life),
        "labels": _labels(life),
        "creationTimestamp": _rfc3339(life.created),
    }
    profile = next((place for since, place in reversed(life.resizes) if since <= at), life.profile)
    spec = dict(PROFILES[profile].spec)
    if life.placed is not None and at >= life.placed:
        spec |= {"nodeName": "node-1"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": _status(life, spec, at)}


def _annotations(life: Life) -> dict[str, str]:
    if life.told is Told.HUB:
        marks = {
            "hub.jupyter.org/username": life.user or "",
            "hub.jupyter.org/servername": life.server or "",
            "hubquota.dev/groups": json.dumps(life.groups),
            "hubquota.dev/instance-type": PROFILES[life.profile].name,
        }
        return marks if life.chosen is None else marks | {"hubquota.dev/group": life.chosen}
    if life.told is Told.GROUP:
        return {"hubquota.dev/group": life.chosen or ""}
    usage = {"component": "job" if life.user else "deployment", "component_name": life.name}
    usage |= {"user": life.user} if life.user is not None else {}
    usage |= {"group": life.chosen} if life.chosen is not None else {}
    return {"primehub.io/usage": json.dumps(usage), "hubquota.dev/groups": json.dumps(life.groups)}


def _labels(life: Life) -> dict[str, str]:
    if life.told is not Told.HUB:
        return {}
    told = {"hub.jupyter.org/username": life.user, "hub.jupyter.org/servername": life.server}
    return {"component": "singleuser-server"} | {name: names.label(text or "") for name, text in told.items()}


def _status(life: Life, spec: dict[str, Any], at: int) -> dict[str, Any]:
    if life.placed is None or at < life.placed:
        waiting = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        return {"phase": "Pending", "conditions": [waiting | {"lastTransitionTime": _rfc3339(life.created)}]}
    placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": _rfc3339(life.placed)}
    over = life.ended is not None and at >= life.ended
    if life.ending is Ending.EVICTED and over:
        return {"phase": "Failed", "reason": "Evicted", "conditions": [placed]}
    phase, states = _states(life, at, over)
    started = [s["name"] for s in spec["containers"]]
    sidecars = [s["name"] for s in spec.get("initContainers", ())]
    return {
        "phase": phase,
        "conditions": [placed],
        "containerStatuses": [_container(life, name, states[0], at) for name in started],
        "initContainerStatuses": [_container(life, name, states[1], at) for name in sidecars],
    }


def _states(life: Life, at: int, over: bool) -> tuple[str, tuple[dict[str, Any], dict[str, Any]]]:
    """The phase, and the states of the containers and of those before them; of which the sidecars end last."""
    if life.ended is not None and over and life.ending in (Ending.FINISHED, Ending.WRONG_CLOCK):
        end = life.ended + (HOUR if life.ending is Ending.WRONG_CLOCK else 0)
        last = _terminated(max(life.placed or 0, end - 2)), _terminated(end)
        sidecar = any("restartPolicy" in c for c in PROFILES[life.profile].spec.get("initContainers", ()))
        return "Succeeded", last if sidecar else (last[1], last[1])
    if life.ending is Ending.NEVER_RAN or at < (life.placed or 0) + 3:
        waiting = {"waiting": {"reason": "ContainerCreating"}}
        return "Pending", (waiting, waiting)
    if life.restarted == at:  # its container has ended, and will be restarted
        return "Running", (_terminated(at), {"running": {}})
    return "Running", ({"running": {"startedAt": _rfc3339((life.placed or 0) + 3)}}, {"running": {}})


def _container(life: Life, name: str, state: dict[str, Any], at: int) -> dict[str, Any]:
    again = life.restarted is not None and at >= life.restarted
    before = {"lastState": _terminated(life.restarted or 0), "restartCount": 1} if again else {"restartCount": 0}
    return {"name": name, "state": state} | before


def _terminated(at: int) -> dict[str, Any]:
    return {"terminated": {"finishedAt": _rfc3339(at), "exitCode": 0}}


def _rfc3339(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
