"""What ledger and cluster say otherwise of one pod, or of the policies. Pure, but for what the mends do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hubquota.domain.history import HowEnded, PodRecord, PolicyRevision
from hubquota.ledger.auditing.changes import Aliases
from hubquota.ledger.auditing.findings import Finding, Kind, Mend, when
from hubquota.ledger.auditing.mending import CloseStretch, EndPod, TakeIn, TakePolicy
from hubquota.ledger.auditing.reading import Kept
from hubquota.ledger.merging import merged
from hubquota.ledger.tables import policy_revisions

#: What the hub wrote on a pod at its creation, beside its user: what was seen first counts.
_ATTRIBUTION: Final = (
    "name",
    "server",
    "groups",
    "chosen_group",
    "component",
    "component_name",
    "instance_type",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """A finding, and the instant from which the ledger could have known better; 0: always."""

    finding: Finding
    since: int = 0


@dataclass(frozen=True, slots=True)
class Pair:
    """One pod in the ledger and in the cluster. ``kept`` None: the ledger lacks it. ``seen`` None: the cluster does,
    or where it is ``there``, it is none that is metered. ``received``: when the cluster's answer came.
    """

    kept: Kept | None
    seen: PodRecord | None
    there: bool
    aliases: Aliases
    received: int


def differences(pair: Pair) -> list[Difference]:
    """What the two say otherwise. Of a row that cannot be read nothing is told: that it cannot is a finding itself."""
    if pair.kept is None:
        return [] if pair.seen is None else [_missing(pair.seen)]
    known = pair.kept.record
    if known is None:
        return []
    if pair.seen is None:
        return [] if known.end is not None else [_unmarked(known) if pair.there else _gone(known, pair.received)]
    made = _Of(known, pair.seen, merged(known, pair.seen), pair.aliases)
    return [d for d in (made.owner(), made.start(), made.end(), made.allocation()) if d is not None]


def _missing(seen: PodRecord) -> Difference:
    whose = "nobody's" if seen.user is None else f"user {seen.user}"
    found = f"the ledger lacks it: placed {when(seen.scheduled)}, {whose}, it holds {_amounts(seen)}"
    return Difference(Finding(Kind.MISSING_POD, seen.hub, seen.uid, seen.name, found, TakeIn(seen)), seen.scheduled)


def _gone(known: PodRecord, received: int) -> Difference:
    found = f"it runs in the ledger and is gone from the cluster; last seen {when(known.last_seen)}"
    mend = EndPod(known, received)
    return Difference(Finding(Kind.GONE_POD, known.hub, known.uid, known.name, found, mend), known.last_seen)


def _unmarked(known: PodRecord) -> Difference:
    found = "it runs in the ledger, and in the cluster it has no placement or none of the annotations any more"
    return Difference(Finding(Kind.OWNER, known.hub, known.uid, known.name, found), known.last_seen)


@dataclass(frozen=True, slots=True)
class _Of:
    """A pod as the ledger knows it, as it was seen, and as the ledger would know it then."""

    known: PodRecord
    seen: PodRecord
    both: PodRecord
    aliases: Aliases

    def owner(self) -> Difference | None:
        if self.known.user in self.aliases.forgotten:
            return None  # the mapping must not be told
        names = [n for n in _ATTRIBUTION if getattr(self.known, n) != getattr(self.seen, n)]
        names += [] if self.aliases.same(self.seen.user, self.known.user) else ["user"]
        if not names:
            return None
        found = "; ".join(
            f"{n}: {_words(self.known, n)} in the ledger, {_words(self.seen, n)} in the cluster" for n in names
        )
        return self._told(Kind.OWNER, found, mends=all(getattr(self.both, n) == getattr(self.seen, n) for n in names))

    def start(self) -> Difference | None:
        if self.known.scheduled == self.seen.scheduled:
            return None
        found = f"placed {when(self.known.scheduled)} in the ledger, {when(self.seen.scheduled)} in the cluster"
        return self._told(Kind.START, found, mends=self.both.scheduled == self.seen.scheduled)

    def end(self) -> Difference | None:
        known, seen = self.known.end, self.seen.end
        # Neither an end of what lives, nor another one than the kubelet's, is ever undone by itself.
        wrong = known is not None and (seen is None or (seen.how is HowEnded.CONTAINERS and seen.at != known.at))
        if self.both.end == known and not wrong:
            return None
        found = f"{_ended(self.known)} in the ledger, {_ended(self.seen)} in the cluster"
        since = (seen.at if seen is not None else 0) if known is None else known.bound or 0
        return self._told(Kind.END, found, mends=self.both.end != known, since=since)

    def allocation(self) -> Difference | None:
        if _last(self.known) == _last(self.seen):
            return None
        found = f"{_amounts(self.known)} in the ledger, {_amounts(self.seen)} in the cluster"
        return self._told(Kind.ALLOCATION, found, mends=_last(self.both) == _last(self.seen) and self.both.end is None)

    def _told(self, kind: Kind, found: str, *, mends: bool, since: int = 0) -> Difference:
        mend: Mend | None = TakeIn(self.seen) if mends else None
        return Difference(Finding(kind, self.known.hub, self.known.uid, self.known.name, found, mend), since)


def policy_differences(
    cluster: str, revisions: Sequence[PolicyRevision], there: Mapping[str, PolicyRevision], received: int
) -> list[Difference]:
    """What ledger and cluster say otherwise of a hub's policies."""
    last = {r.uid: r for r in sorted(revisions, key=lambda r: r.generation)}
    told = []
    for uid, known in last.items():
        if uid not in there and known.end is None:
            found = f"it holds in the ledger since {when(known.start)} and is gone from the cluster"
            key = (("uid", uid), ("generation", known.generation))
            told.append(_policy(Kind.GONE_POLICY, known, found, CloseStretch(policy_revisions, key, None, received)))
    for uid, seen in there.items():
        known_ = last.get(uid)
        if known_ is None or known_.generation < seen.generation:
            found = f"the ledger lacks its generation {seen.generation}"
            told.append(_policy(Kind.MISSING_POLICY, seen, found, TakePolicy(cluster, seen)))
        elif known_.end is not None:
            told.append(_policy(Kind.MISSING_POLICY, seen, f"in the ledger it is gone since {when(known_.end)}", None))
    return told


def _policy(kind: Kind, policy: PolicyRevision, found: str, mend: Mend | None) -> Difference:
    return Difference(Finding(kind, policy.hub, policy.uid, policy.name, found, mend))


def _last(pod: PodRecord) -> dict[str, int]:
    """What it held when it was last seen; a resource of which it held none is left out."""
    held = {s.resource: s.request for s in sorted(pod.segments, key=lambda s: s.start)}
    return {resource: amount for resource, amount in held.items() if amount}


def _amounts(pod: PodRecord) -> str:
    return ", ".join(f"{amount} {resource}" for resource, amount in sorted(_last(pod).items())) or "nothing"


def _ended(pod: PodRecord) -> str:
    if pod.end is None:
        return "runs"
    return f"ended {when(pod.end.at)} ({pod.end.how}{'' if pod.end.bound is None else ', estimated'})"


def _words(pod: PodRecord, name: str) -> str:
    told: Any = getattr(pod, name)
    return "none" if told is None else repr(list(told) if isinstance(told, tuple) else told)
