"""Whether the ledger says what the cluster says: an audit that may be made while an operator writes.

What is only under way is not told: a difference has to be there for the ledger as it was before and after a listing,
and again in every look until it has had time to go.
"""

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hubquota.cluster.api import OURS, Api
from hubquota.cluster.differing import Difference, Pair, differences, policy_differences
from hubquota.cluster.observing import PoisonPod, Sight, observed
from hubquota.domain.history import PodRecord, PolicyRevision
from hubquota.ledger import Ledger
from hubquota.ledger.auditing.changes import Aliases, aliases
from hubquota.ledger.auditing.findings import Finding, in_both
from hubquota.ledger.auditing.reading import Kept, by_uid

#: Seconds between two looks at what may be under way.
_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Compared:
    """What differs. ``young``: what differs too, and the operator may not have had time for; ``set_aside``: pods that
    nobody can make sense of, and why; the operator does not meter them.
    """

    found: list[Finding]
    young: list[Finding]
    set_aside: list[str]


@dataclass(frozen=True, slots=True)
class _Look:
    """A listing, and what the ledger said after it. ``present``: uids of all pods that are there."""

    asked: int
    received: int
    present: frozenset[str]
    seen: Mapping[str, PodRecord]
    set_aside: Mapping[str, str]
    policies: Mapping[str, PolicyRevision]
    kept: Mapping[str, Kept]
    revisions: list[PolicyRevision]


class Comparison:
    """One hub's part of the ledger beside its namespace. ``clock`` gives microseconds since 1970.

    ``grace``: microseconds that an operator may take to hear of what happened. ``settle``: seconds that a difference
    must last to be told.
    """

    def __init__(self, api: Api, ledger: Ledger, hub: str, clock: Callable[[], int], grace: int, settle: float) -> None:
        self._api, self._ledger, self._hub, self._clock = api, ledger, hub, clock
        self._grace, self._settle = grace, settle

    async def made(self) -> Compared:
        """Compare. Raises ApiError or SQLAlchemyError where one of them cannot be read."""
        async with self._ledger.reading() as connection:
            known_as = await aliases(connection, self._ledger.cluster, self._hub)
        before, now = await self._look(), await self._look()
        found = list(self._differences(before, now, known_as))
        until = asyncio.get_running_loop().time() + self._settle
        while found and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(_PAUSE)
            before, now = now, await self._look()
            found = in_both(found, self._differences(before, now, known_as), _key)
        due = [d.since <= now.asked - self._grace for d in found]
        return Compared(
            [d.finding for d, old in zip(found, due, strict=True) if old],
            [d.finding for d, old in zip(found, due, strict=True) if not old],
            [now.set_aside[uid] for uid in sorted(now.set_aside)],
        )

    def _differences(self, before: _Look, now: _Look, known_as: Aliases) -> Iterator[Difference]:
        for uid in sorted({*now.seen, *_open(before), *_open(now)} - now.set_aside.keys()):
            there, received = uid in now.present, now.received
            first, second = (
                differences(Pair(look.kept.get(uid), now.seen.get(uid), there, known_as, received))
                for look in (before, now)
            )
            yield from in_both(first, second, _key)
        first, second = (
            policy_differences(self._ledger.cluster, look.revisions, now.policies, now.received)
            for look in (before, now)
        )
        yield from in_both(first, second, _key)

    async def _look(self) -> _Look:
        asked = self._clock()
        present: set[str] = set()
        seen: dict[str, PodRecord] = {}
        set_aside: dict[str, str] = {}
        async for pod in self._api.listing(f"/api/v1/namespaces/{self._hub}/pods"):
            uid = pod["metadata"]["uid"]
            present.add(uid)
            try:
                record = observed(Sight(pod, self._clock()), self._ledger.cluster)
            except PoisonPod as poison:
                set_aside[uid] = str(poison)
            else:
                seen |= {} if record is None else {uid: record}
        policies = await self._policies(asked)
        received = self._clock()
        kept = await self._kept(present)
        revisions = await self._ledger.policy_revisions(self._hub)
        return _Look(asked, received, frozenset(present), seen, set_aside, policies, kept, revisions)

    async def _policies(self, asked: int) -> dict[str, PolicyRevision]:
        found = {}
        async for body in self._api.listing(f"{OURS}/namespaces/{self._hub}/quotapolicies"):
            metadata: Mapping[str, Any] = body["metadata"]
            uid, name, generation = metadata["uid"], metadata["name"], metadata.get("generation", 0)
            found[uid] = PolicyRevision(uid, self._hub, name, generation, body.get("spec") or {}, asked)
        return found

    async def _kept(self, present: Collection[str]) -> dict[str, Kept]:
        """The ledger's rows of these pods, and of all that it takes for running."""
        return await by_uid(self._ledger, [*present, *await self._ledger.open_uids(self._hub)])


def _key(difference: Difference) -> Hashable:
    return difference.finding.key


def _open(look: _Look) -> Iterator[str]:
    return (uid for uid, kept in look.kept.items() if kept.record is not None and kept.record.end is None)
