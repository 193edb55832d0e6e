"""Statuses that are believed when an operator starts, until there is time to look closer.

To make 10,000 statuses anew takes as long as all else of a start. What an earlier operator wrote is right still where
it knew the same policies, had told everybody what follows from them, and nothing has happened to the user since: what
is ahead is told in instants, so it stays right while time goes by. Each is compared in full while the hub is served.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final, NamedTuple

from hubquota.cluster.api import Api, ApiError
from hubquota.cluster.leases import HEARTBEAT, REFLECTS, leases_path
from hubquota.cluster.members import Seen
from hubquota.cluster.policies import Stored
from hubquota.domain.metering import Meter
from hubquota.domain.pods import micros

Json = Mapping[str, Any]
_MISSING: Final = 404


class Believed(NamedTuple):
    """What is compared later: the UserQuota's generation, the instant that its status speaks for, its digest."""

    generation: int
    as_of: int
    digest: bytes


def reflected(policies: Sequence[Stored]) -> str:
    """What statuses reflect: this version of ours, and these policies."""
    told = [version("hubquota"), sorted((p.uid, p.generation) for p in policies)]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


async def last_reflected(api: Api, hub: str) -> str | None:
    """What the last operator said that all statuses reflect; None: it said nothing. Raises ApiError."""
    try:
        lease = await api.get(f"{leases_path(hub)}/{HEARTBEAT}")
    except ApiError as error:
        if error.status != _MISSING:
            raise
        return None
    found: str | None = (lease["metadata"].get("annotations") or {}).get(REFLECTS)
    return found


def believed(seen: Seen, status: Json, running: Sequence[Json], meter: Meter) -> Believed | None:
    """What to compare later; None: something has happened since, or the status is none that can be read."""
    at = as_of(status)
    if at is None or status.get("observedGeneration") != seen.generation or seen.ignored is not None:
        return None
    if status.get("running", []) != running or meter.changed_since(seen.user, at):
        return None
    return Believed(seen.generation, at, digest(status))


def digest(status: Json) -> bytes:
    """Equal for equal statuses."""
    return hashlib.sha256(json.dumps(status, sort_keys=True).encode()).digest()


def as_of(status: Json) -> int | None:
    """The instant that a status speaks for (microseconds since 1970); None: it says nothing that can be read."""
    try:
        return micros(status["asOf"])
    except (KeyError, TypeError, ValueError):
        return None
