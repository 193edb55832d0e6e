"""What is to be said of a policy that takes a look at all its users: names that nobody has, nothing that is metered.

Such a look costs something, and what it finds changes slowly: it is taken again after some minutes, or when the policy
has changed.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from hubquota.domain.measure import CREDITS, STORAGE
from hubquota.domain.metering import Meter
from hubquota.domain.policy import Policy
from hubquota.domain.windows import DAY, SECOND

#: How long a look is good for that found nothing to say; one that did is soon taken again, for somebody may mend it.
_GOOD_FOR: Final = 600 * SECOND
_SOON: Final = 30 * SECOND
#: Where nobody has done anything yet there is little to look at.
_AT_ONCE: Final = 2 * SECOND
#: As the design says: nobody in scope asked for it for so long.
_UNMETERED: Final = 7 * DAY


@dataclass(frozen=True, slots=True)
class Findings:
    """``unknown``: users and groups that are named and that nobody has seen. ``metered`` None: it cannot be said yet.

    ``unweighted``: resources that users hold and that have no price in credits.
    """

    unknown: tuple[str, ...] = ()
    metered: bool | None = None
    unweighted: tuple[str, ...] = ()

    @property
    def good_for(self) -> int:
        """Microseconds after which another look should be taken."""
        if self.metered is None:
            return _AT_ONCE
        return _SOON if self.unknown or self.unweighted or not self.metered else _GOOD_FOR


class Looks:
    """The last look at each policy. ``users``: those for whom a policy holds."""

    def __init__(self, users: Callable[[str], Iterable[str]]) -> None:
        self._users = users
        self._last: dict[str, tuple[Policy, int, Findings]] = {}

    def at(self, policy: Policy, meter: Meter, known: Callable[[], tuple[set[str], set[str]]], now: int) -> Findings:
        """What is found of a policy. ``known``: all users and groups of the hub."""
        last = self._last.get(policy.name)
        if last is None or last[0] != policy or now - last[1] >= last[2].good_for:
            last = self._last[policy.name] = (policy, now, look(policy, meter, self._users(policy.name), *known(), now))
        return last[2]

    def forget(self, policy: str) -> None:
        """Take a new look next time: the policy is gone, or its users have changed."""
        self._last.pop(policy, None)


def look(policy: Policy, meter: Meter, covered: Iterable[str], users: set[str], groups: set[str], now: int) -> Findings:
    """Take a look at all users of a policy. ``users`` and ``groups``: those that the hub is known to have."""
    unknown = [*sorted(policy.scope.users - users), *sorted(policy.scope.groups - groups)]
    if policy.resource == STORAGE or policy.window is None:
        return Findings(tuple(unknown), metered=True)
    counted, held = policy.measure.resources, set[str]()
    for user in covered:
        held |= meter.held_since(user, now - _UNMETERED)
        if policy.resource != CREDITS and held & counted:
            break
    known_long_enough = meter.covered_since <= now - _UNMETERED
    metered = True if held & counted else False if known_long_enough or held else None
    priced = {resource for resource, _ in policy.measure.weights}
    # A server is a server whatever it is made of: nobody expects a price for it.
    unweighted = sorted(held - priced - {"servers"}) if policy.resource == CREDITS else ()
    return Findings(tuple(unknown), metered, tuple(unweighted))
