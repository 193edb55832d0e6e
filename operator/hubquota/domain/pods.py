"""What a pod holds and from when to when, read from the object as the API server stores it.

Allocation is counted as the scheduler counts it, which the tests ask: see also the Kubernetes documentation on sidecar
containers ("Resource sharing within containers"), pod-level resources and in-place resize. Lifetimes are S26 to S29.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from hubquota.domain.quantities import base_units, thousandths

Pod = Mapping[str, Any]
Amounts = dict[str, int]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FINISHED: Final = frozenset({"Succeeded", "Failed"})
#: Resources of a pod that are no quota's business: they are not held over time in a way that people budget.
_PASSED_OVER: Final = ("hugepages-", "ephemeral-storage")
#: What Kubernetes lets a pod ask for as a whole; it leaves other pod-level resources unread.
_POD_LEVEL: Final = frozenset({"cpu", "memory"})


def micros(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time. Raises ValueError for any other text, or one without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: write one, such as 2026-01-31T09:00:00Z")
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def rfc3339(at: int) -> str:
    """The time as a status tells it: UTC with ``Z``, microseconds only where it is not a whole second."""
    seconds, rest = divmod(at, 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    minutes, seconds = divmod(seconds, 60)
    text = f"{_day(days)}T{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"
    return f"{text}.{rest:06d}Z" if rest else f"{text}Z"


@lru_cache(maxsize=1024)
def _day(number: int) -> str:
    """A day as a status tells it, of days since 1970: a status names few different ones."""
    return (_EPOCH + timedelta(days=number)).date().isoformat()


def scheduled_at(pod: Pod) -> int | None:
    """The instant at which the pod was placed; None: not yet, so it holds nothing."""
    for condition in _list(pod, "status", "conditions"):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "True":
            return micros(condition["lastTransitionTime"])
    return None


def finished_at(pod: Pod) -> int | None:
    """The end of the last container of a pod that has ended (S27); None: it has not, or nothing says when.

    A container that will be restarted has not ended: only the phase tells. Nothing says when where what became of a
    container is not told: whoever ends the pods of a lost node leaves the statuses as they were.
    """
    statuses = _list(pod, "status", "containerStatuses")
    if not has_finished(pod) or not statuses:
        return None
    statuses = [*statuses, *_list(pod, "status", "initContainerStatuses")]
    if any(_is_left_open(status) for status in statuses):
        return None
    ends = [end for status in statuses if (end := _terminated(status)) is not None]
    return max(ends, default=None)


def phase_told_at(pod: Pod) -> int | None:
    """When the API server was last told of the pod by whoever says its phase, by its own clock, in whole seconds.

    None: it keeps no word of that.
    """
    times = [
        micros(entry["time"])
        for entry in _list(pod, "metadata", "managedFields")
        if "f:phase" in ((entry.get("fieldsV1") or {}).get("f:status") or {})
    ]
    return max(times, default=None)


def has_finished(pod: Pod) -> bool:
    """Whether the pod's containers have ended for good, though its object may linger."""
    return (pod.get("status") or {}).get("phase") in _FINISHED


def allocation(pod: Pod) -> Amounts:
    """What the pod holds while it is placed: bytes of memory, else thousandths; what it does not ask for is absent.

    Raises InvalidQuantity where a quantity cannot be read.
    """
    held = _with_pod_level(pod["spec"], _effective(pod))
    held = _sum(held, _amounts(pod["spec"].get("overhead")))
    return {resource: base_units(resource, amount) for resource, amount in held.items() if amount > 0}


def _effective(pod: Pod) -> Amounts:
    """The larger of what runs in the end, and of what any step of the start needs beside the sidecars before it."""
    resizes = _Resizes(pod)
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in _list(pod, "spec", "initContainers"):
        if container.get("restartPolicy") == "Always":
            sidecars = _sum(sidecars, resizes.held(container))
        else:
            peak = _max(peak, _sum(sidecars, _requests(container)))
    running = sidecars
    for container in _list(pod, "spec", "containers"):
        running = _sum(running, resizes.held(container))
    return _max(running, peak)


def _with_pod_level(spec: Pod, held: Amounts) -> Amounts:
    """With the pod-level requests in place of the containers'; a limit stands only for what no container asks for."""
    resources = spec.get("resources") or {}
    limits, requests = _amounts(resources.get("limits")), _amounts(resources.get("requests"))
    return _only(limits, _POD_LEVEL) | held | _only(requests, _POD_LEVEL)


class _Resizes:
    """What containers hold while a pod is resized in place: the most of what is wanted, allotted and in force.

    What is wanted does not count while the kubelet says that the node can never give it.
    """

    def __init__(self, pod: Pod) -> None:
        told = [*_list(pod, "status", "containerStatuses"), *_list(pod, "status", "initContainerStatuses")]
        self._statuses = {status.get("name"): status for status in told}
        pending = (c for c in _list(pod, "status", "conditions") if c.get("type") == "PodResizePending")
        self._infeasible = next(pending, {}).get("reason") == "Infeasible"

    def held(self, container: Pod) -> Amounts:
        status = self._statuses.get(container.get("name"), {})
        in_force = status.get("resources")
        if in_force is None:
            return _requests(container)
        held = _max(_amounts(in_force.get("requests")), _amounts(status.get("allocatedResources")))
        return held if self._infeasible else _max(_requests(container), held)


def _requests(container: Pod) -> Amounts:
    """What a container asks for; a request missing beside a limit is the limit (S26)."""
    resources = container.get("resources") or {}
    return _amounts(resources.get("limits")) | _amounts(resources.get("requests"))


def _amounts(quantities: Mapping[str, Any] | None) -> Amounts:
    """In thousandths, memory too: bytes are rounded only in the sum."""
    return {r: thousandths(str(q)) for r, q in (quantities or {}).items() if not r.startswith(_PASSED_OVER)}


def _only(amounts: Amounts, resources: frozenset[str]) -> Amounts:
    return {r: amount for r, amount in amounts.items() if r in resources}


def _sum(left: Amounts, right: Amounts) -> Amounts:
    return {r: left.get(r, 0) + right.get(r, 0) for r in left.keys() | right.keys()}


def _max(left: Amounts, right: Amounts) -> Amounts:
    return {r: max(left.get(r, 0), right.get(r, 0)) for r in left.keys() | right.keys()}


def _is_left_open(status: Pod) -> bool:
    """Whether a container of a pod that is over ran, and nothing says until when."""
    state, last = status.get("state") or {}, status.get("lastState") or {}
    if "terminated" in state:
        return _terminated(status) is None
    return "running" in state or "terminated" in last


def _terminated(status: Pod) -> int | None:
    end = ((status.get("state") or {}).get("terminated") or {}).get("finishedAt")
    return None if end is None else micros(end)


def _list(holder: Pod, *path: str) -> list[Pod]:
    found: Any = holder
    for key in path:
        found = (found or {}).get(key)
    return found or []
