"""Who was in which group, for the ledger: noted off the path of statuses, many at a time."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from hubquota.cluster.members import Seen
from hubquota.domain.history import Membership
from hubquota.ledger import Ledger

logger = logging.getLogger(__name__)

#: Seconds until what could not be written is tried again.
_RETRY: Final = 2


class Memberships:
    """What is still to be noted of one hub. What is lost with a process the UserQuotas tell again at the next start."""

    def __init__(self, ledger: Ledger, hub: str, clock: Callable[[], int]) -> None:
        self._ledger, self._hub, self._clock = ledger, hub, clock
        self._waiting: dict[str, Membership] = {}
        self._woken = asyncio.Event()

    def note(self, seen: Iterable[Seen]) -> None:
        """Have these users' groups noted; of one who is seen twice before that, the later."""
        now = self._clock()
        for one in seen:
            at = now if one.observed is None else one.observed
            self._waiting[one.user] = Membership(self._hub, one.user, one.groups, at)
        self._woken.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            waiting, self._waiting = self._waiting, {}
            try:
                await self._write(list(waiting.values()))
            except SQLAlchemyError as error:
                logger.warning("hub=%s groups are not noted, again in %s s: %s", self._hub, _RETRY, error)
                self._waiting = waiting | self._waiting
                self._woken.set()
                await asyncio.sleep(_RETRY)

    async def _write(self, waiting: list[Membership]) -> None:
        """Write those that the ledger does not know so."""
        known = await self._ledger.groups_of(self._hub, [m.user for m in waiting])
        news = [m for m in waiting if known.get(m.user) != m.groups]
        if news:
            await self._ledger.record_membership(*news)
