"""Which policies hold for a user, and what they come to together (S3, S5, S8, S12 to S14)."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hubquota.domain.measure import Measure
from hubquota.domain.policy import Combine, Enforcement, Policy
from hubquota.domain.windows import Window

#: Policies combine only if they are equal in resource, weights and window; and in enforcement (S12).
Kind = tuple[Measure, Window | None]


@dataclass(frozen=True, slots=True)
class Quota:
    """One or several policies as they apply to one user.

    ``policies``: the ``deciding`` ones first, then the rest. ``limit`` None: unlimited, by an Override. ``observed``:
    the Observe policy whose shadow verdict this is, None: it is a quota in earnest. ``conflict``: they disagree on
    combine.
    """

    policies: tuple[Policy, ...]
    deciding: int
    limit: int | None
    except_profiles: frozenset[str]
    warn_at: int
    conflict: bool = False
    observed: Policy | None = None

    @property
    def first(self) -> Policy:
        """The policy that decides; resource, window and unit are the same for all."""
        return self.policies[0]

    @property
    def name(self) -> str:
        """The name that it goes by: the deciding policy's, or that of the one that only observes."""
        return (self.observed or self.first).name

    @property
    def enforcement(self) -> Enforcement:
        """What happens to a launch when it is used up."""
        return (self.observed or self.first).enforcement

    @property
    def deciders(self) -> tuple[Policy, ...]:
        """The policies that decide."""
        return self.policies[: self.deciding]

    @property
    def message(self) -> str:
        """The words of the deciding policies, each once."""
        return "\n".join(dict.fromkeys(p.message for p in self.deciders if p.message))


def covering(policies: Iterable[Policy], user: str, groups: frozenset[str], now: int) -> list[Policy]:
    """The policies that hold for a user at ``now``, by name.

    A fallback holds where no other Deny or Warn policy of the same resource covers the user (S8, S14).
    """
    valid = sorted((p for p in policies if p.holds_at(now)), key=lambda p: p.name)
    named = [p for p in valid if not p.scope.fallback and p.scope.names(user, groups)]
    covered = {p.resource for p in named if p.enforcement is not Enforcement.OBSERVE}
    fallbacks = [p for p in valid if p.scope.fallback and p.resource not in covered]
    return sorted([*named, *fallbacks], key=lambda p: p.name)


def counted_at_once(policies: Iterable[Policy], user: str, groups: frozenset[str], now: int) -> bool:
    """Whether a user's servers are counted at once, those on their way too."""
    return any(p.at_once for p in covering([p for p in policies if p.at_once], user, groups, now))


def per_user(policies: Iterable[Policy]) -> list[Quota]:
    """The quotas that a user's PerUser policies come to, unlimited ones too: by resource, then name."""
    kinds: defaultdict[Kind, list[Policy]] = defaultdict(list)
    for policy in policies:
        if not policy.shared:
            kinds[policy.measure, policy.window].append(policy)
    return sorted(
        (quota for alike in kinds.values() for quota in _of_a_kind(alike)), key=lambda q: (q.first.resource, q.name)
    )


def pools(policies: Iterable[Policy]) -> list[Policy]:
    """The Shared policies among those that hold for a user."""
    return [p for p in policies if p.shared]


def combined(policies: Sequence[Policy], observed: Policy | None = None) -> Quota:
    """What policies of one kind come to (S13). A limit of 0 wins over everything (S5)."""
    zeros = [p for p in policies if p.limit == 0]
    overrides = [p for p in policies if p.combine is Combine.OVERRIDE]
    if zeros:
        return _quota(policies, zeros, 0, observed)
    if overrides:
        limit = _largest(overrides)
        # These alone hold: what the others except and warn of does not count either.
        largest = [p for p in overrides if p.limit == limit]
        return _quota(policies, largest, limit, observed, holding=largest)
    ways = {p.combine for p in policies}
    way = ways.pop() if len(ways) == 1 else Combine.MIN
    limit = _PICK[way]([p.limit for p in policies if p.limit is not None])
    deciding = [p for p in policies if way is Combine.SUM or p.limit == limit]
    return _quota(policies, deciding, limit, observed, conflict=bool(ways))


_PICK: Final[dict[Combine, Callable[[Collection[int]], int]]] = {Combine.MIN: min, Combine.MAX: max, Combine.SUM: sum}


def _of_a_kind(alike: Sequence[Policy]) -> Iterable[Quota]:
    """One quota for each enforcement; each Observe policy beside the Deny policies, as if it were one of them (S14)."""
    by_enforcement: defaultdict[Enforcement, list[Policy]] = defaultdict(list)
    for policy in alike:
        by_enforcement[policy.enforcement].append(policy)
    for observed in by_enforcement.pop(Enforcement.OBSERVE, ()):
        yield combined([*by_enforcement.get(Enforcement.DENY, ()), observed], observed)
    for together in by_enforcement.values():
        yield combined(together)


def _largest(overrides: Iterable[Policy]) -> int | None:
    limits = [p.limit for p in overrides]
    return None if None in limits else max(limit for limit in limits if limit is not None)


def _quota(
    policies: Sequence[Policy],
    deciding: Sequence[Policy],
    limit: int | None,
    observed: Policy | None,
    *,
    conflict: bool = False,
    holding: Sequence[Policy] = (),
) -> Quota:
    rest = [p for p in policies if p not in deciding]
    holding = holding or policies
    return Quota(
        policies=(*deciding, *rest),
        deciding=len(deciding),
        limit=limit,
        except_profiles=frozenset.intersection(*(p.except_profiles for p in holding)),
        warn_at=min(p.warn_at for p in holding),
        conflict=conflict,
        observed=observed,
    )
