"""Which policies hold for a user, and what they come to together (S8, S12, S13)."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hubquota.domain.policy import Combine, Enforcement, Policy


@dataclass(frozen=True, slots=True)
class Quota:
    """One or several policies as they apply to one user. ``policies``: those that decide first, then the rest."""

    policies: tuple[Policy, ...]
    deciding: int
    limit: int
    except_profiles: frozenset[str]
    warn_at: int
    conflict: bool = False

    @property
    def first(self) -> Policy:
        """The policy that decides; resource, window, unit and enforcement are the same for all."""
        return self.policies[0]

    @property
    def message(self) -> str:
        """The words of the deciding policies, each once."""
        return "\n".join(dict.fromkeys(p.message for p in self.policies[: self.deciding] if p.message))


def covering(policies: Iterable[Policy], user: str, groups: frozenset[str]) -> list[Policy]:
    """The policies that hold for a user, by name. A fallback holds where no other Deny or Warn policy covers (S8)."""
    policies = sorted(policies, key=lambda p: p.name)
    named = [p for p in policies if not p.scope.fallback and p.scope.names(user, groups)]
    covered = {p.resource for p in named if p.enforcement is not Enforcement.OBSERVE}
    fallbacks = [p for p in policies if p.scope.fallback and p.resource not in covered]
    return sorted([*named, *fallbacks], key=lambda p: p.name)


def per_user(policies: Iterable[Policy]) -> list[Quota]:
    """The quotas that PerUser policies come to: one for each resource, window and enforcement (S12)."""
    alike: defaultdict[tuple[str, int, str], list[Policy]] = defaultdict(list)
    for policy in policies:
        if not policy.shared:
            alike[policy.resource, policy.window or 0, policy.enforcement].append(policy)
    return [quota for key in sorted(alike) if (quota := combined(alike[key])) is not None]


def combined(policies: Sequence[Policy]) -> Quota | None:
    """What policies of one kind come to (S13); None: unlimited. A limit of 0 wins over everything (S5)."""
    zeros = [p for p in policies if p.limit == 0]
    overrides = [p for p in policies if p.combine is Combine.OVERRIDE]
    if zeros:
        return _quota(policies, zeros, 0)
    if overrides:
        return _largest(policies, overrides)
    ways = {p.combine for p in policies}
    way = ways.pop() if len(ways) == 1 else Combine.MIN
    return _by_way(policies, way, conflict=bool(ways))


def pools(policies: Iterable[Policy]) -> list[Policy]:
    """The Shared policies among those that hold for a user."""
    return [p for p in policies if p.shared]


_PICK: Final[dict[Combine, Callable[[Collection[int]], int]]] = {Combine.MIN: min, Combine.MAX: max, Combine.SUM: sum}


def _by_way(policies: Sequence[Policy], way: Combine, *, conflict: bool) -> Quota:
    limits = [p.limit for p in policies if p.limit is not None]
    limit = _PICK[way](limits)
    deciding = [p for p in policies if way is Combine.SUM or p.limit == limit]
    return _quota(policies, deciding, limit, conflict=conflict)


def _largest(policies: Sequence[Policy], overrides: Sequence[Policy]) -> Quota | None:
    limits = [p.limit for p in overrides]
    if None in limits:
        return None
    limit = max(value for value in limits if value is not None)
    return _quota(policies, [p for p in overrides if p.limit == limit], limit)


def _quota(policies: Sequence[Policy], deciding: Sequence[Policy], limit: int, *, conflict: bool = False) -> Quota:
    rest = [p for p in policies if p not in deciding]
    return Quota(
        policies=(*deciding, *rest),
        deciding=len(deciding),
        limit=limit,
        except_profiles=frozenset.intersection(*(p.except_profiles for p in policies)),
        warn_at=min(p.warn_at for p in policies),
        conflict=conflict,
    )
