"""The final check: rows of the ledger that are open, and whose pods are gone, are ended.

Beside the operator, which ends what it misses itself, so this finds what no operator saw: pods of hubs that are served
no more, or that ended while no operator ran. It never ends a pod that lives: it ends what a complete listing does not
have and nobody has seen for long before that listing was asked for, however much or little happens in the cluster.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from hubquota.cluster.api import Api, ApiError
from hubquota.domain.history import PodRecord
from hubquota.domain.pods import rfc3339
from hubquota.ledger import Ledger, explained
from hubquota.metrics import MonitorMetrics
from hubquota.settings import Settings

logger = logging.getLogger(__name__)

#: Listings that an operator may miss before somebody else ends what it did not.
_MISSED = 3


def grace(settings: Settings) -> int:
    """Microseconds for which nobody has seen a pod that is ended: the operator has had its turns to do so by then."""
    return int(_MISSED * settings.resync_interval * 1_000_000)


async def look(api: Api, ledger: Ledger, hub: str, clock: Callable[[], int], grace: int) -> list[PodRecord]:
    """Compare a hub's open rows with its pods; returns those that it ended, estimated and bounded.

    ``clock`` gives microseconds since 1970, ``grace`` as above. Raises ApiError, and nothing is ended then, or
    SQLAlchemyError.
    """
    asked = clock()
    present = {pod["metadata"]["uid"] async for pod in api.listing(f"/api/v1/namespaces/{hub}/pods")}
    ended = await ledger.end_missing(hub, present, asked - grace, clock())
    for gone in ended:
        at = rfc3339(gone.finished or 0)
        logger.warning("hub=%s pod=%s user=%s was gone unseen, estimated end=%s", hub, gone.name, gone.user, at)
    return ended


class Monitor:
    """The same as a process of its own. ``hubs`` gives the namespaces, ``clock`` microseconds since 1970."""

    def __init__(
        self,
        api: Api,
        ledger: Ledger,
        hubs: Callable[[], Awaitable[Sequence[str]]],
        clock: Callable[[], int],
        settings: Settings,
        metrics: MonitorMetrics,
    ) -> None:
        self._api, self._ledger, self._hubs, self._clock = api, ledger, hubs, clock
        self._metrics, self._grace, self._interval = metrics, grace(settings), settings.monitor_interval
        self.fault: str | None = "has not looked yet"
        """What went wrong in the last round; None: nothing did."""

    async def run(self) -> None:
        """Look at all hubs every so often, until cancelled."""
        while True:
            self.fault = await self.round()
            await asyncio.sleep(self._interval)

    async def round(self) -> str | None:
        """Look once at all hubs: one that cannot be looked at stops none of the others. Returns what went wrong."""
        try:
            hubs = await self._hubs()
        except ApiError as fault:
            logger.warning("the hubs cannot be listed: %s", fault)
            return f"the hubs cannot be listed: {fault}"
        return "; ".join([told for hub in hubs if (told := await self._look(hub)) is not None]) or None

    async def _look(self, hub: str) -> str | None:
        try:
            ended = await look(self._api, self._ledger, hub, self._clock, self._grace)
        except (ApiError, SQLAlchemyError) as fault:
            told = explained(fault) if isinstance(fault, SQLAlchemyError) else fault
            logger.warning("hub=%s is not checked: %s", hub, told)
            return f"hub {hub}: {told}"
        self._metrics.ended.labels(hub).inc(len(ended))
        self._metrics.looked.labels(hub).set(self._clock() / 1_000_000)
        return None
