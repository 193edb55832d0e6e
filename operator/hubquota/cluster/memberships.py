"""Who was in which group, for the ledger: noted off the path of statuses, many at a time."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from hubquota.cluster.members import Seen
from hubquota.domain.history import Membership
from hubquota.ledger import Ledger, explained

logger = logging.getLogger(__name__)

#: Seconds until what could not be written is tried again.
_RETRY: Final = 2


class Memberships:
    """What is still to be noted of one hub. What is lost with a process the UserQuotas tell again at the next start."""

    def __init__(self, ledger: Ledger, hub: str, clock: Callable[[], int]) -> None:
        self._ledger, self._hub, self._clock = ledger, hub, clock
        self._waiting: dict[str, Membership] = {}
        #: Those of whom the hub has said nothing yet: an instant of ours may be later than its first word.
        self._silent: set[str] = set()
        self._lost: dict[str, int] = {}
        #: Whether the hub has a user, where all were listed; None: nobody has to be looked for.
        self._there: Callable[[str], bool] | None = None
        self._woken = asyncio.Event()

    def note(self, seen: Iterable[Seen]) -> None:
        """Have these users' groups noted; of one who is seen twice before that, the later."""
        now = self._clock()
        for one in seen:
            at = now if one.observed is None else one.observed
            self._waiting[one.user] = Membership(self._hub, one.user, one.groups, at)
            silent = one.observed is None and not one.groups
            (self._silent.add if silent else self._silent.discard)(one.user)
            self._lost.pop(one.user, None)  # back before it was noted
            self._woken.set()

    def lose(self, user: str) -> None:
        """Have it noted that the hub no longer has this user."""
        self._lost[user] = self._clock()
        self._woken.set()

    def only(self, those: Callable[[str], bool]) -> None:
        """Have it noted of all others that the hub no longer has them: who went while nobody looked."""
        self._there = those
        self._woken.set()

    async def run(self) -> None:
        """Write until cancelled. While the ledger is away that is said once."""
        away = False
        while True:
            await self._woken.wait()
            self._woken.clear()
            waiting, self._waiting = self._waiting, {}
            try:
                await self._write(list(waiting.values()))
                waiting = {}
                await self._end()
                away = False
            except SQLAlchemyError as error:
                if not away:
                    told = (self._hub, _RETRY, explained(error))
                    logger.warning("hub=%s groups are not noted, tried every %s s: %s", *told)
                away = True
                self._waiting = waiting | self._waiting
                self._woken.set()
                await asyncio.sleep(_RETRY)

    async def _end(self) -> None:
        """End the presence of those who are gone."""
        if self._there is not None:
            present = await self._ledger.users_present(self._hub)
            gone = [user for user in present if user not in self._lost and not self._there(user)]
            self._lost |= dict.fromkeys(gone, self._clock())
            self._there = None
        for user, at in list(self._lost.items()):
            await self._ledger.end_user(self._hub, user, at)
            if self._lost.get(user) == at:
                del self._lost[user]

    async def _write(self, waiting: list[Membership]) -> None:
        """Write those that the ledger does not know so."""
        if not waiting:
            return
        known = await self._ledger.groups_of(self._hub, [m.user for m in waiting])
        if new := {m.user: m.at for m in waiting if m.user in self._silent and m.user not in known}:
            await self._ledger.record_users(self._hub, new)
        news = [m for m in waiting if known.get(m.user) != m.groups and m.user not in new]
        if news:
            await self._ledger.record_membership(*news)
