"""Room for UserQuotas: a hub may have so many, for one with open sign-up would fill etcd."""

import asyncio
import logging

from hubquota.metrics import HubMetrics

logger = logging.getLogger(__name__)


class Room:
    """Whether a hub has room for more, and who is left out while it has not.

    The operator itself never makes one too many of those that it sees. The hub's hook learns of the cap from the
    heartbeat, so it may still make those of the first launches that are under way while the word travels: the operator
    writes it at once (at its next beat where that fails), the hook asks for it once a second, and a launch has its
    answer within ``timeout`` and ``first_launch_timeout``, 7 s. So the count overshoots by the first launches of 8 s at
    most, of which JupyterHub's ``concurrent_spawn_limit`` lets 100 be under way at a time.
    """

    def __init__(self, most: int, metrics: HubMetrics) -> None:
        self._most, self._metrics = most, metrics
        self._left_out: set[str] = set()
        self.at_cap: int | None = None
        """As many as may be are there: this many. None: there are fewer."""
        self.turned = asyncio.Event()
        """Set when ``at_cap`` changes; who tells of it clears it."""
        metrics.user_quotas_max.set(most)

    def count(self, there: int) -> bool:
        """So many are there now; returns whether ``at_cap`` has changed."""
        self._metrics.user_quotas.set(there)
        at_cap = self._most if there >= self._most else None
        if at_cap == self.at_cap:
            return False
        self.at_cap = at_cap
        self.turned.set()
        return True

    def leave_out(self, user: str) -> None:
        """A user should have one, and there is no room."""
        self._left_out.add(user)
        self._metrics.users_left_out.set(len(self._left_out))

    def let_in(self) -> set[str]:
        """There is room again; returns who was left out."""
        waiting, self._left_out = self._left_out, set()
        self._metrics.users_left_out.set(0)
        return waiting
