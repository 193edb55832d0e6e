"""For each policy whom it holds for, who is near its end, what it decides: kept from standing to standing."""

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from hubquota.domain.quotas import Quota
from hubquota.domain.standing import QuotaState, Standing

#: Users that a status names as the heaviest.
_HEAVIEST: Final = 5


@dataclass(frozen=True, slots=True)
class Mark:
    """What one policy is to one user. ``used``: base units x microseconds, None: nothing that is counted for it alone.

    ``decides``: it is one of those that decide. ``outranked_by``: those that decide instead.
    """

    near: bool = False
    exhausted: bool = False
    decides: bool = True
    conflict: bool = False
    used: int | None = None
    outranked_by: tuple[str, ...] = ()


@dataclass(slots=True)
class Summary:
    """One policy over all its users. ``outranked_by``: how often each other policy decides instead."""

    users: int = 0
    near: int = 0
    exhausted: int = 0
    deciding: int = 0
    conflicting: int = 0
    outranked_by: "Counter[str]" = field(default_factory=Counter)

    def add(self, mark: Mark, sign: int) -> None:
        """Count a user in (1) or out (-1)."""
        self.users += sign
        self.near += sign * mark.near
        self.exhausted += sign * mark.exhausted
        self.deciding += sign * mark.decides
        self.conflicting += sign * mark.conflict
        for name in mark.outranked_by:
            self.outranked_by[name] += sign

    @property
    def outranking(self) -> list[str]:
        """The policies that decide instead, by name."""
        return sorted(name for name, count in self.outranked_by.items() if count > 0)


class Tally:
    """All policies of a hub."""

    def __init__(self) -> None:
        self._marks: dict[str, dict[str, Mark]] = {}
        self._summaries: dict[str, Summary] = {}
        #: The heaviest users as last looked for, until somebody who is, or was, among them has used another amount.
        self._heaviest: dict[str, list[tuple[str, int]]] = {}

    def take(self, user: str, standing: Standing) -> set[str]:
        """Take in where a user stands now; returns the policies for which it makes a difference."""
        before, now = self._marks.get(user, {}), marks(standing)
        changed = {name for name in before.keys() | now.keys() if before.get(name) != now.get(name)}
        for name in changed:
            summary = self._summaries.setdefault(name, Summary())
            if name in before:
                summary.add(before[name], -1)
            if name in now:
                summary.add(now[name], 1)
            self._reconsider(name, user, now.get(name))
        self._marks[user] = now
        return changed

    def forget_user(self, user: str) -> None:
        """A user is gone."""
        for name, mark in self._marks.pop(user, {}).items():
            self._summaries[name].add(mark, -1)
            self._reconsider(name, user, None)

    def forget(self, policy: str) -> None:
        """A policy is gone."""
        self._summaries.pop(policy, None)
        self._heaviest.pop(policy, None)
        for held in self._marks.values():
            held.pop(policy, None)

    def summary(self, policy: str) -> Summary:
        """One policy over all its users."""
        return self._summaries.get(policy, Summary())

    def users(self, policy: str) -> list[str]:
        """Those for whom it holds."""
        return [user for user, held in self._marks.items() if policy in held]

    def heaviest(self, policy: str) -> list[tuple[str, int]]:
        """The few users who used most, and what; base units x microseconds."""
        if policy not in self._heaviest:
            self._heaviest[policy] = self._look_for_heaviest(policy)
        return self._heaviest[policy]

    def _look_for_heaviest(self, policy: str) -> list[tuple[str, int]]:
        used = ((held[policy].used or 0, user) for user, held in self._marks.items() if policy in held)
        return [(user, amount) for amount, user in heapq.nsmallest(_HEAVIEST, used, lambda u: (-u[0], u[1])) if amount]

    def _reconsider(self, policy: str, user: str, mark: Mark | None) -> None:
        """Look for the heaviest anew where a user is or may be one of them."""
        known = self._heaviest.get(policy)
        if known is None:
            return
        used = (mark.used if mark is not None else None) or 0
        least = known[-1][1] if len(known) == _HEAVIEST else 0
        if used >= max(least, 1) or any(name == user for name, _ in known):
            del self._heaviest[policy]


def marks(standing: Standing) -> dict[str, Mark]:
    """What each policy that holds for a user is to them."""
    found: dict[str, Mark] = {name: Mark() for name in standing.pools}
    for quota in standing.unlimited:
        found |= _of(quota, None, standing.at)
    for state in standing.quotas:
        found |= _of(state.quota, state, standing.at)
    return found


def _of(quota: Quota, state: QuotaState | None, now: int) -> dict[str, Mark]:
    """The marks of one quota's policies. The Deny policies beside an observed one are marked by their own quota."""
    deciders = tuple(p.name for p in quota.deciders)
    shown = [quota.observed] if quota.observed else quota.policies
    near, exhausted = (False, False) if state is None else (state.near_at(now), state.blocked_at(now))
    made = {}
    for policy in shown:
        decides = policy.name in deciders
        used = state.used if state is not None else None
        made[policy.name] = Mark(near, exhausted, decides, quota.conflict, used, () if decides else deciders)
    return made
