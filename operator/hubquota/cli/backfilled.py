"""What `hubquota backfill` found, and how it says so."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hubquota.domain.history import PodRecord
from hubquota.domain.pods import rfc3339
from hubquota.resources.wording import printable

if TYPE_CHECKING:
    from hubquota.ledger import Filled
    from hubquota.prometheus.reading import Reading

Stretch = tuple[int, int]

#: Of names that are told, so many.
_TOLD: Final = 10
_NO_USERS: Final = (
    "no pod says whose it is: start kube-state-metrics with "
    "--metric-annotations-allowlist=pods=[hub.jupyter.org/username,hub.jupyter.org/servername] (docs/backfill.md has "
    "all); what was scraped without it cannot be told apart by users"
)
_NO_UIDS: Final = (
    "some pods had no uid, and under one name many pods come and go: their time counts as not seen; "
    "kube-state-metrics tells it since 2.1, unless a relabelling drops it"
)
_NO_REQUESTS: Final = (
    "no container's requests were told (kube_pod_container_resource_requests): as far as can be seen, pods hold "
    "nothing; their time counts as not seen"
)


@dataclass
class Found:
    """What was found of one hub. All times are microseconds.

    ``known``: read before, and not again. ``seen``: read now, without a hole. ``widths``: for each end that is
    estimated, how far after what is counted it may lie. ``covered_since`` None: no operator has served the hub yet.
    """

    hub: str
    since: int
    until: int
    known: list[Stretch] = field(default_factory=list)
    seen: list[Stretch] = field(default_factory=list)
    new: int = 0
    changed: int = 0
    same: int = 0
    widths: list[int] = field(default_factory=list)
    interval: int = 0
    covered_since: int | None = None
    notes: list[str] = field(default_factory=list)

    def add(self, pods: Iterable[PodRecord], filled: "Filled") -> None:
        """Count some more pods, and what became of them."""
        self.new, self.changed, self.same = (
            self.new + filled.new,
            self.changed + filled.changed,
            self.same + filled.same,
        )
        ends = (pod.end for pod in pods)
        self.widths += [end.bound - end.at for end in ends if end is not None and end.bound is not None]

    def note(self, reading: "Reading") -> None:
        """Note what could not be taken, and what to do about it."""
        out = reading.left_out
        notes = [_NO_UIDS] if out.nameless else []
        notes += [_NO_USERS] if out.mute or (out.nobodys and not self.pods) else []
        notes += [_NO_REQUESTS] if out.idle else []
        if out.labels:
            notes.append(f"labels that lead to no known user: {_some(out.labels)}")
        if reading.unknown_resources:
            notes.append(
                f"not counted: {_some(reading.unknown_resources)}: name these resources in prometheus_resources"
            )
        if out.poison:
            notes.append(f"pods that make no sense: {_some(f'{uid}: {why}' for uid, why in out.poison.items())}")
        self.notes += [note for note in notes if note not in self.notes]

    @property
    def pods(self) -> int:
        """How many pods were found."""
        return self.new + self.changed + self.same

    @property
    def in_holes(self) -> int:
        """How many ends lie where scrapes are missing."""
        return sum(width > 2 * self.interval for width in self.widths)

    @property
    def unseen(self) -> list[Stretch]:
        """What of the time that was asked for could not be seen."""
        from hubquota.prometheus.scrapes import without

        return without((self.since, self.until), [*self.known, *self.seen])

    @property
    def whole(self) -> bool:
        """Whether all was seen and taken."""
        return not self.unseen and not self.notes


def as_json(found: Found) -> dict[str, Any]:
    """For programs: instants as RFC 3339, lengths in seconds."""
    since = found.covered_since
    return {
        "hub": found.hub,
        "since": rfc3339(found.since),
        "until": rfc3339(found.until),
        "pods": {"new": found.new, "changed": found.changed, "same": found.same},
        "estimatedEnds": len(found.widths),
        "ofThemInHoles": found.in_holes,
        "togetherAtMostSeconds": sum(found.widths) / 1e6,
        "scrapeIntervalSeconds": found.interval / 1e6,
        "readBefore": [_interval(s) for s in found.known],
        "read": [_interval(s) for s in found.seen],
        "notSeen": [_interval(s) for s in found.unseen],
        "coveredSince": None if since is None else rfc3339(since),
        "notes": found.notes,
    }


def as_text(found: Found, *, dry: bool) -> str:
    """For people."""
    return "\n".join(_lines(found, dry=dry))


def _lines(found: Found, *, dry: bool) -> Iterable[str]:
    would = ", had this been no dry run" if dry else ""
    yield f"{printable(found.hub)}: {rfc3339(found.since)} to {rfc3339(found.until)}"
    yield (
        f"  {found.pods} pods: {found.new} new, {found.changed} known better now, "
        f"{found.same} known as well before{would}"
    )
    if found.interval:
        yield (
            f"  scraped every {_seconds(found.interval)} s; {len(found.widths)} ends are estimated, "
            f"{found.in_holes} of them in holes; together at most {sum(found.widths) / 3.6e9:.1f} h are not counted"
        )
    yield from (f"  read before: {_words(stretch)}" for stretch in found.known)
    yield from (f"  not seen: {_words(stretch)}" for stretch in found.unseen)
    if found.covered_since is None:
        yield "  no operator has served this hub yet: run this again when one does, for its usage to count from then"
    else:
        yield f"  usage is known since {rfc3339(found.covered_since)}"
    yield from (f"  {note}" for note in found.notes)


def _interval(stretch: Stretch) -> dict[str, str]:
    return {"from": rfc3339(stretch[0]), "to": rfc3339(stretch[1])}


def _words(stretch: Stretch) -> str:
    return f"{rfc3339(stretch[0])} to {rfc3339(stretch[1])}"


def _seconds(micros: int) -> str:
    return f"{micros / 1e6:.0f}"


def _some(names: Iterable[str]) -> str:
    told = sorted(map(printable, names))
    more = f" and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return ", ".join(told[:_TOLD]) + more
