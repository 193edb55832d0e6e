"""The policies of one hub: as they are stored, as they apply, and in the ledger as they were."""

from collections.abc import AsyncIterator, Callable
from functools import partial

from hubquota.cluster import policies
from hubquota.cluster.api import OURS, Api
from hubquota.cluster.journal import Journal
from hubquota.cluster.policies import Stored
from hubquota.domain.history import PolicyRevision
from hubquota.domain.policy import Policy
from hubquota.ledger import Ledger
from hubquota.metrics import HubMetrics


class Catalogue:
    """What is known of the policies. ``clock`` gives microseconds since 1970."""

    def __init__(
        self, api: Api, ledger: Ledger, journal: Journal, hub: str, clock: Callable[[], int], metrics: HubMetrics
    ) -> None:
        self._api, self._ledger, self._journal = api, ledger, journal
        self._hub, self._clock, self._metrics = hub, clock, metrics
        self.stored: dict[str, Stored] = {}
        self.applied: dict[str, Policy] = {}
        self.window = 0
        """How far the longest window of the policies looks back, in microseconds."""

    async def read(self) -> None:
        """Take up the policies that are there, and end in the history those that are not. Raises ApiError or
        SQLAlchemyError.
        """
        self.stored = {}
        async for stored in self._listed():
            self.take(stored)
        there = {stored.uid for stored in self.stored.values()}
        for revision in await self._ledger.policy_revisions(self._hub):
            if revision.end is None and revision.uid not in there:
                await self._ledger.end_policy(revision.uid, self._clock())
        self.apply()

    async def gone(self) -> list[Stored]:
        """The policies that were deleted unseen: kopf tells of no deletion that it missed. Raises ApiError."""
        before = list(self.stored.values())
        there = {stored.uid async for stored in self._listed()}
        return [stored for stored in before if stored.uid not in there]

    def take(self, stored: Stored) -> bool:
        """Keep a policy as it is now; returns whether it is another than before."""
        before = self.stored.get(stored.name)
        if before is not None and before.uid != stored.uid:
            self._end(before.uid)
        self.stored[stored.name] = stored
        if before and (before.uid, before.generation) == (stored.uid, stored.generation):
            return False  # our own status, written
        revision = PolicyRevision(stored.uid, self._hub, stored.name, stored.generation, stored.spec, self._clock())
        self._journal.note(partial(self._ledger.record_policy_revision, revision))
        return True

    def lose(self, stored: Stored) -> bool:
        """A policy is gone; False where another of its name is there already."""
        self._end(stored.uid)
        before = self.stored.get(stored.name)
        if before is None or before.uid != stored.uid:
            return False
        del self.stored[stored.name]
        return True

    def apply(self) -> None:
        """Have the policies apply as they are stored now."""
        self.applied = policies.applied(self.stored.values())
        self.window = policies.longest_window(self.applied.values())
        self._metrics.policies_applied.set(len(self.applied))
        self._metrics.policies_not_applied.set(len(self.stored) - len(self.applied))

    def named_groups(self) -> frozenset[str]:
        """The groups that policies name, also those that are not applied, as the hook takes them."""
        return frozenset(group for stored in self.stored.values() for group in policies.named_groups(stored.spec))

    def _end(self, uid: str) -> None:
        self._journal.note(partial(self._ledger.end_policy, uid, self._clock()))

    async def _listed(self) -> AsyncIterator[Stored]:
        async for body in self._api.listing(f"{OURS}/namespaces/{self._hub}/quotapolicies"):
            yield policies.read(body)
