"""From a pod as the API server tells it to what the ledger keeps: whose it is, what it holds, whether it has ended."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hubquota.domain.attribution import MARKS, attributed
from hubquota.domain.attribution import SERVERNAME as SERVERNAME
from hubquota.domain.attribution import USERNAME as USERNAME
from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.domain.pods import Pod, allocation, finished_at, has_finished, micros, phase_told_at, scheduled_at

#: How far a kubelet's clock may be ahead of ours before its word for an end is not taken (S29), in microseconds.
_AHEAD: Final = 5_000_000


class PoisonPod(Exception):
    """A pod that cannot be metered; the message says why. Its neighbours go on."""


class Poison:
    """The pods that cannot be metered, each with what is wrong with it: news is told once, not at every sight."""

    def __init__(self) -> None:
        self._known: dict[str, set[str]] = {}

    def is_news(self, uid: str, why: str) -> bool:
        """Whether nobody was told yet that this pod has this fault."""
        whys = self._known.setdefault(uid, set())
        if why in whys:
            return False
        whys.add(why)
        return True

    def keep(self, present: Collection[str]) -> None:
        """Forget the pods that are gone; ``present``: the uids of those that are there."""
        for uid in self._known.keys() - set(present):
            del self._known[uid]


@dataclass(frozen=True, slots=True)
class Sight:
    """That a pod looked so at ``at``. ``gone``: it was told to be deleted for good."""

    pod: Pod
    at: int
    gone: bool = False


def observed(sight: Sight, cluster: str) -> PodRecord | None:
    """What the ledger should keep of a pod; None: it is not ours to meter, or holds nothing yet.

    Raises PoisonPod for a pod that nobody can make sense of.
    """
    metadata: Mapping[str, Any] = sight.pod["metadata"]
    marks: Mapping[str, str] = metadata.get("annotations") or {}
    if not any(mark in marks for mark in MARKS):
        return None
    try:
        start = scheduled_at(sight.pod)
        return None if start is None else _record(sight, cluster, marks, start)
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise PoisonPod(f"pod {metadata.get('namespace')}/{metadata.get('name')} is not metered: {fault}") from fault


def running_before_placement(pod: Pod) -> bool:
    """Whether a pod is on its way: it counts as a server at once, though it holds nothing yet (S23)."""
    return scheduled_at(pod) is None and not has_finished(pod)


def _record(sight: Sight, cluster: str, marks: Mapping[str, str], start: int) -> PodRecord:
    metadata, spec = sight.pod["metadata"], sight.pod["spec"]
    end = _end(sight, start)
    at = max(sight.at, start)
    return PodRecord(
        uid=metadata["uid"],
        cluster=cluster,
        hub=metadata["namespace"],
        name=metadata["name"],
        scheduled=start,
        first_seen=at,
        last_seen=at,
        image=next((str(c.get("image", "")) for c in spec["containers"]), ""),
        node=spec.get("nodeName"),
        deletion=_deletion(metadata),
        end=end,
        segments=_segments(sight.pod, start, end, is_server=USERNAME in marks),
        **asdict(attributed(marks)),
    )


def _segments(pod: Pod, start: int, end: PodEnd | None, *, is_server: bool) -> tuple[SegmentRecord, ...]:
    until = None if end is None else end.at
    held = allocation(pod) | ({"servers": 1000} if is_server else {})
    return tuple(SegmentRecord(resource, amount, None, start, until) for resource, amount in held.items())


def _end(sight: Sight, start: int) -> PodEnd | None:
    """When the pod ended (S27 to S29); None: it lives."""
    if not has_finished(sight.pod):
        return _removal(sight, start) if sight.gone else None
    receipt = _receipt(sight, start)
    finished = finished_at(sight.pod)
    if finished is None:
        return PodEnd(receipt, HowEnded.DELETED)
    if start <= finished <= receipt + _AHEAD:
        return PodEnd(finished, HowEnded.CONTAINERS)
    return PodEnd(receipt, HowEnded.RECEIPT)


def _removal(sight: Sight, start: int) -> PodEnd:
    """The end of a pod that was taken away while it ran, by the API server's clock: we may hear of it late.

    Without any grace left, the deletion timestamp is when it was taken away.
    """
    metadata = sight.pod["metadata"]
    told = _deletion(metadata) if metadata.get("deletionGracePeriodSeconds") == 0 else None
    at = told if told is not None and start <= told <= sight.at else max(start, sight.at)
    return PodEnd(at, HowEnded.DELETED)


def _receipt(sight: Sight, start: int) -> int:
    """When it was heard that a pod is over: by the API server, which may have told us much later, or else by us."""
    told = phase_told_at(sight.pod)
    return told if told is not None and start <= told <= sight.at else max(start, sight.at)


def _deletion(metadata: Mapping[str, Any]) -> int | None:
    told = metadata.get("deletionTimestamp")
    return None if told is None else micros(told)
