"""What an audit finds: each difference as a sentence, and how it can be mended."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.domain.pods import rfc3339

T = TypeVar("T")


class Kind(StrEnum):
    """What a finding is about."""

    # Between the ledger and the cluster.
    MISSING_POD = "MissingPod"
    """The cluster has a placed pod that the ledger lacks."""
    GONE_POD = "GonePod"
    """It runs in the ledger, and is gone from the cluster."""
    OWNER = "Owner"
    """Ledger and cluster differ on whose a pod is, or on what it was launched as."""
    START = "Start"
    END = "End"
    ALLOCATION = "Allocation"
    MISSING_POLICY = "MissingPolicy"
    GONE_POLICY = "GonePolicy"
    # Within the ledger.
    UNREADABLE = "Unreadable"
    """A row of a pod that cannot be one, such as an end before the start."""
    FLAGS = "Flags"
    """What a row says of how the end was learnt does not fit together."""
    SEGMENTS = "Segments"
    """Stretches of a pod's allocation overlap, leave gaps, or lie outside its life."""
    DIGEST = "Digest"
    """What a start reads of a pod is not what its segments and groups say."""
    OVERLAPPING_LIVES = "OverlappingLives"
    """Two pods of one name lived at the same time."""
    STRETCHES = "Stretches"
    """Stretches of a user, a membership or a policy overlap or run backwards."""
    ORPHAN = "Orphan"
    """Rows that belong to nothing."""
    UNKNOWN_HUB = "UnknownHub"
    """Rows of a hub that the ledger does not know."""


@dataclass(frozen=True, slots=True)
class Mended:
    """What a mend changed: columns as they were (None: the row was not there) and as they are (None: it is gone)."""

    before: Mapping[str, Any] | list[Any] | None
    after: Mapping[str, Any] | None


class Mend(Protocol):
    """How one finding is mended. ``says``: what it does, for people."""

    @property
    def says(self) -> str:
        """What it does, as a sentence without subject."""
        ...

    async def apply(self, connection: AsyncConnection) -> Mended | None:
        """Do it, over a connection that writes. None, and nothing changes: it is not any more as the audit read it."""
        ...


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. ``what``: uid of a pod or policy, or a user's name; ``name``: for people.

    ``mend`` None: nobody but a person can tell what is right.
    """

    kind: Kind
    hub: str
    what: str
    name: str
    found: str
    mend: Mend | None = None

    @property
    def key(self) -> tuple[Kind, str, str]:
        """What it is recognised by when one looks again."""
        return self.kind, self.hub, self.what


def in_both(first: Iterable[T], second: Iterable[T], key: Callable[[T], Hashable]) -> list[T]:
    """What was found both times, as it was found the second time: what was only under way is in one of them."""
    known = {key(found) for found in first}
    return [found for found in second if key(found) in known]


def when(at: int | None) -> str:
    """An instant for people; one that no calendar has as its number, None as never."""
    if at is None:
        return "never"
    try:
        return rfc3339(at)
    except (OverflowError, ValueError):
        return f"{at} µs"
