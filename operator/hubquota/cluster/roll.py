"""The users whom a hub itself lists: their groups are known before they launch anything."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from hubquota.cluster.api import ApiError
from hubquota.cluster.members import Members, Seen
from hubquota.cluster.scheduling import Scheduler
from hubquota.cluster.writing import Writer
from hubquota.jupyterhub import HubApi, HubApiError
from hubquota.metrics import HubMetrics
from hubquota.resources.groups import kept_groups
from hubquota.resources.names import user_quota_name
from hubquota.settings import Settings

logger = logging.getLogger(__name__)

#: Seconds until a hub that is away is asked again: doubled each time, up to ``hub_api_interval``.
_FIRST_PAUSE: Final = 5.0
#: The hook tells whole seconds, cut: what it saw may be this much newer than it says.
_CUT: Final = 1_000_000
#: A name that no UserQuota can hold is nobody's.
_LONGEST_NAME: Final = 255
#: Users who are looked at before others get their turn on the loop.
_AT_ONCE: Final = 500


class Roll:
    """Of one hub. ``named``: the groups that policies name now; ``clock`` gives microseconds since 1970.

    ``pause``: waits so many seconds, between listings.
    """

    def __init__(
        self,
        hub: str,
        members: Members,
        writer: Writer,
        scheduler: Scheduler,
        named: Callable[[], frozenset[str]],
        clock: Callable[[], int],
        metrics: HubMetrics,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._hub, self._members, self._writer, self._scheduler = hub, members, writer, scheduler
        self._named, self._clock, self._metrics, self._pause = named, clock, metrics, pause

    async def follow(self, settings: Settings) -> None:
        """Ask the hub again and again. While it is away nothing is forgotten, and each reason is said once."""
        said, pause, longest = "", _FIRST_PAUSE, settings.hub_api_interval
        while True:
            try:
                await self._ask(settings)
            except (HubApiError, ApiError) as fault:
                if str(fault) != said:
                    logger.warning("hub=%s its users are not listed, tried again until they are: %s", self._hub, fault)
                said = str(fault)
                await self._pause(min(pause, longest))
                pause = min(2 * pause, longest)
            else:
                if said:
                    logger.info("hub=%s its users are listed again", self._hub)
                said, pause = "", _FIRST_PAUSE
                await self._pause(longest)

    async def _ask(self, settings: Settings) -> None:
        at = self._clock()  # before it is asked: what is told is no older
        async with HubApi(settings, self._hub) as api:
            told = await api.groups()
        await self.take(told, at)
        self._metrics.hub_listed.set(at / 1_000_000)

    async def take(self, told: Mapping[str, Collection[str]], at: int) -> None:
        """These are all users and their groups as of ``at``: have it written where it is news. Raises ApiError.

        Who is in no group gets no UserQuota before the first launch, for it would tell nothing.
        """
        named, kept = self._named(), {}
        for place, (user, groups) in enumerate(told.items()):
            if 0 < len(user) <= _LONGEST_NAME and "\0" not in user:
                kept[user] = kept_groups(groups, named)
            if place % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        self._members.list_all({user: groups for user, groups in kept.items() if groups}, at)
        self._make(kept, named)
        for user, groups in kept.items():
            seen = self._members.of(user)
            if seen is not None and seen.groups != set(groups) and _is_news(seen, at):
                await self._writer.groups(seen, groups, at)

    def _make(self, kept: Mapping[str, tuple[str, ...]], named: frozenset[str]) -> None:
        """Have UserQuotas made of those who lack one, as far as there is room: first where a policy names a group."""
        lacking = [u for u, groups in kept.items() if groups and self._members.named(user_quota_name(u)) is None]
        lacking.sort(key=lambda user: (named.isdisjoint(kept[user]), user))
        self._scheduler.trickle(("user", user) for user in lacking[: self._members.room_for_listed()])


def _is_news(seen: Seen, at: int) -> bool:
    """Whether the hook has told nothing since."""
    return seen.observed is None or seen.observed + _CUT <= at
