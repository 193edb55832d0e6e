"""UserQuotas of users who are gone are deleted, so that a hub with open sign-up does not fill etcd with the years."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hubquota.cluster.api import Api, ApiError
from hubquota.cluster.members import Seen
from hubquota.domain.pods import rfc3339

logger = logging.getLogger(__name__)

_MISSING: Final = 404
_CONFLICT: Final = 409


@dataclass(frozen=True, slots=True)
class Traces:
    """When a user was last heard of, in microseconds. ``held``: the last instant at which a pod of theirs held
    something, which is now while one does; None: never. ``observed``: when the hub last told the groups; None: never.
    """

    created: int
    observed: int | None
    held: int | None

    @property
    def latest(self) -> int:
        """The newest of all."""
        return max(self.created, self.observed or 0, self.held or 0)


def is_charged(held: int | None, window: int, now: int) -> bool:
    """Whether a user has usage in a window of this length, or is using something now."""
    return held is not None and held >= now - window


def has_expired(traces: Traces, window: int, retention: int, now: int) -> bool:
    """Whether a UserQuota can go: no usage in the longest ``window``, and unseen for ``retention`` (microseconds)."""
    return not is_charged(traces.held, window, now) and traces.latest < now - retention


async def delete(api: Api, path: str, expired: Iterable[tuple[Seen, Traces]]) -> int:
    """Delete UserQuotas under ``path``, each only as it was seen: a launch in between wins, and it is kept.

    Returns how many went. Raises ApiError.
    """
    gone = 0
    for seen, traces in expired:
        try:
            await api.delete(f"{path}/{seen.name}", {"uid": seen.uid, "resourceVersion": seen.version})
        except ApiError as error:
            if error.status not in (_MISSING, _CONFLICT):
                raise
            continue
        gone += 1
        since = rfc3339(traces.latest)
        logger.info("userquota=%s deleted: no usage in any window, unseen since %s", seen.name, since)
    return gone
