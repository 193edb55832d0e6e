"""What the ledger keeps, as plain values: what goes in, what comes out, what the engine counts.

All times are integer microseconds since 1970-01-01T00:00:00Z; all amounts are base units (bytes of memory, else
thousandths). A record that cannot be kept raises ValueError when it is made, so that one poisoned pod is set aside
before it is written together with its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

#: What a signed column of 64 bits holds, in every database.
LARGEST: Final = 2**63 - 1
#: Characters of a user's name, as JupyterHub's own database has it.
LONGEST_USER: Final = 255


class HowEnded(StrEnum):
    """How the end of a pod was learnt, best first."""

    CONTAINERS = "Containers"
    """The end of its last container, as the kubelet wrote it (S27)."""
    DELETED = "Deleted"
    """It was seen to be deleted; also of a pod whose containers never ran (S28)."""
    RECEIPT = "Receipt"
    """The end that was told lay before the start or in the future, so it is when we heard of it (S29)."""
    DELETION_TIMESTAMP = "DeletionTimestamp"
    """Gone without our seeing it; the instant at which it was due to be gone."""
    LAST_SEEN = "LastSeen"
    """Gone without our seeing it; the last instant at which it was seen."""
    BACKFILL = "Backfill"
    """As Prometheus had it, for time that was not watched."""


@dataclass(frozen=True, slots=True)
class PodEnd:
    """``at``: the end. ``bound`` None: it is certain; else it is estimated, and the pod was gone by ``bound``."""

    at: int
    how: HowEnded
    bound: int | None = None

    def __post_init__(self) -> None:
        _in_range("end", self.at)
        if self.bound is not None and self.bound < self.at:
            raise ValueError(f"an end at {self.at} cannot be bounded by {self.bound}, which is before it")


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A stretch of one pod's life with one allocation of one resource.

    ``limit`` None: the pod has no limit of it. ``end`` None: it goes on. Nothing is held where ``end`` is not after
    ``start``.
    """

    resource: str
    request: int
    limit: int | None
    start: int
    end: int | None = None

    def __post_init__(self) -> None:
        _without_nul(self.resource)
        _in_range(f"request of {self.resource}", self.request)
        if self.limit is not None:
            _in_range(f"limit of {self.resource}", self.limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRecord:
    """One placed pod: whose it is, where it ran, what it held and from when to when.

    ``user`` None: nobody's, it may still be charged to its groups (S17). ``server``: ``""`` is the user's default
    server; None: not a server. ``chosen_group``: the one it was launched for, None: not chosen. ``node_labels`` None:
    not known. ``deletion``: the instant by which it was told to be gone, None: it was not. ``end`` None: it lives.
    ``first_seen`` and ``last_seen``: the instants of the first and last observation that this record tells of; the
    observation of one instant has both the same, and segments that start at ``scheduled``.
    """

    uid: str
    cluster: str
    hub: str
    name: str
    user: str | None
    server: str | None
    scheduled: int
    first_seen: int
    last_seen: int
    groups: tuple[str, ...] = ()
    chosen_group: str | None = None
    component: str = ""
    component_name: str = ""
    instance_type: str = ""
    image: str = ""
    node: str | None = None
    node_labels: Mapping[str, str] | None = None
    hook_version: str = ""
    decision: str = ""
    deletion: int | None = None
    end: PodEnd | None = None
    segments: tuple[SegmentRecord, ...] = ()
    backfilled: bool = False

    def __post_init__(self) -> None:
        # One order for each, so that two records of the same pod are equal.
        object.__setattr__(self, "groups", tuple(sorted(set(self.groups))))
        object.__setattr__(self, "segments", tuple(sorted(self.segments, key=lambda s: (s.resource, s.start))))
        _in_range("scheduled", self.scheduled)
        if len(self.user or "") > LONGEST_USER:
            raise ValueError(f"a user's name has at most {LONGEST_USER} characters, not {len(self.user or '')}")
        _without_nul(self.uid, self.name, self.user, self.server, self.chosen_group, *self.groups)
        _without_nul(self.component, self.component_name, self.instance_type, self.image, self.hook_version)
        if self.end is not None and self.end.at < self.scheduled:
            raise ValueError(f"pod {self.name} cannot end at {self.end.at}, before it was placed at {self.scheduled}")
        if self.last_seen < self.first_seen:
            raise ValueError(f"pod {self.name} was last seen at {self.last_seen}, before {self.first_seen}")

    @property
    def finished(self) -> int | None:
        """The instant of the end; None: it lives."""
        return None if self.end is None else self.end.at

    @property
    def charged_groups(self) -> tuple[str, ...]:
        """The groups whose pools it charges: the chosen one alone, where one is named (S15)."""
        return self.groups if self.chosen_group is None else (self.chosen_group,)


@dataclass(frozen=True, slots=True)
class Backfill:
    """A stretch for which Prometheus spoke of a hub's pods without a hole.

    ``source``: which Prometheus, without credentials. ``interval``: microseconds between two scrapes, the error of an
    estimated end. ``recorded``: when it was taken in.
    """

    hub: str
    start: int
    end: int
    source: str
    interval: int
    recorded: int


@dataclass(frozen=True, slots=True)
class Membership:
    """That a hub said at ``at``: the user is in exactly these groups."""

    hub: str
    user: str
    groups: frozenset[str]
    at: int


@dataclass(frozen=True, slots=True)
class PolicyRevision:
    """One generation of a QuotaPolicy, as it held from ``start`` to ``end``. ``end`` None: it still holds."""

    uid: str
    hub: str
    name: str
    generation: int
    spec: Mapping[str, Any]
    start: int
    end: int | None = None


class DecisionKind(StrEnum):
    """What became of a launch that is worth remembering; those that were allowed are known from their pods."""

    REFUSED = "Refused"
    WARNED = "Warned"
    SHADOW_REFUSED = "ShadowRefused"
    FAILED_OPEN = "FailedOpen"
    FAILED_CLOSED = "FailedClosed"


@dataclass(frozen=True, slots=True)
class DecidingQuota:
    """One policy that decided, as the hook told it: ``limit`` and ``used`` are decimal digits in ``unit``.

    ``uid``: empty where the hook did not know it. ``until``: from when on it is not used up; None: nobody could say.
    """

    policy: str
    uid: str = ""
    resource: str = ""
    limit: str = ""
    used: str = ""
    unit: str = ""
    until: int | None = None


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """One decision of a hook. ``request``: base units by resource; ``quotas``: the policies that decided.

    ``profile``: empty where none was chosen. ``group``: the one it was launched for; empty: none was chosen.
    """

    id: str
    hub: str
    user: str
    server: str
    kind: DecisionKind
    at: int
    request: Mapping[str, int]
    quotas: tuple[DecidingQuota, ...]
    message: str = ""
    profile: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        _in_range("instant of a decision", self.at)


def _in_range(what: str, number: int) -> None:
    if not 0 <= number <= LARGEST:
        raise ValueError(f"the {what} is {number}: it must lie between 0 and 2^63-1")


def _without_nul(*texts: str | None) -> None:
    """PostgreSQL keeps no NUL character in a text, and one such pod would take its whole batch with it."""
    for text in texts:
        if text is not None and "\0" in text:
            raise ValueError(f"{text[:40]!r} holds a NUL character")
