"""Standings as the statuses tell them: exact times, amounts that are never rounded up, a line for people."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from hubquota.domain.pods import rfc3339
from hubquota.domain.policy import Policy, Scope
from hubquota.domain.standing import QuotaState, Standing
from hubquota.domain.units import decimal, for_people, per_hour
from hubquota.domain.usage import Block
from hubquota.resources.wording import printable

Json = dict[str, Any]

#: Characters of a line for people; the CRDs allow as many.
_LONGEST: Final = 1000
#: Names of a scope that are listed before it is said how many more there are.
_NAMED: Final = 3


def user_status(standing: Standing, running: Sequence[Json], generation: int) -> Json:
    """The status of a UserQuota. ``generation`` is that of the spec which the standing speaks for."""
    return {
        "observedGeneration": generation,
        "asOf": rfc3339(standing.at),
        "decision": standing.verdict,
        "summary": summary(standing),
        "quotas": [quota_json(state) for state in standing.quotas],
        "pools": list(standing.pools),
        "running": list(running),
    }


def quota_json(state: QuotaState) -> Json:
    """One quota's state; fields without a value are left out."""
    first, quota = state.quota.first, state.quota
    limit = decimal(quota.limit, first.unit)
    told: Json = {
        "name": first.name,
        "policies": [p.name for p in quota.policies],
        "resource": first.resource,
        "base": limit,
        "limit": limit,
        "used": decimal(state.used, first.unit),
        "held": "0",
        "unit": first.unit,
        "coveredSince": rfc3339(state.covered_since),
        "blocked": _stretches(state.blocked),
        "blockedIfStopped": _stretches(state.blocked_if_stopped),
        "forecast": [{"at": rfc3339(v.at), "used": decimal(v.used, first.unit, up=True)} for v in state.forecast],
        "enforcement": str(first.enforcement),
        "exceptProfiles": sorted(quota.except_profiles),
        "warnAt": quota.warn_at,
        "message": quota.message,
    }
    if first.window is not None:
        told |= {"window": {"rolling": first.window_text}, "perHour": per_hour(state.rate, first.unit)}
    return told


def summary(standing: Standing) -> str:
    """A line for people, as of its instant: it names instants, never durations, for it is read later."""
    shown = [s for s in standing.quotas if s.quota.first.enforcement != "Observe"]
    lines = [_line(s) for s in sorted(shown, key=lambda s: not s.blocked_at(standing.at))]
    return "; ".join(lines)[:_LONGEST] or "no limit"


def who(scope: Scope) -> str:
    """Whom a policy holds for, for people."""
    if scope.everyone or scope.fallback:
        return "everyone" if scope.everyone else "everyone whom no other policy covers"
    parts = (("group", scope.groups), ("user", scope.users))
    return " and ".join(_names(kind, sorted(names)) for kind, names in parts if names)[:_LONGEST]


def granted(policy: Policy) -> str:
    """What a policy grants, for people: ``40 GiB-hours of memory in 7d each``."""
    each = "shared" if policy.shared else "each"
    over = f" in {policy.window_text}" if policy.window is not None else " at once"
    if policy.limit is None:
        return f"unlimited {policy.resource}{over}"
    amount = f"{for_people(decimal(policy.limit, policy.unit))} {policy.unit}"
    of = "" if policy.unit == policy.resource else f" of {policy.resource}"
    return f"{amount}{of}{over}, {each}"


def _line(state: QuotaState) -> str:
    first = state.quota.first
    used = for_people(decimal(state.used, first.unit))
    limit = for_people(decimal(state.quota.limit, first.unit))
    over = f" in {first.window_text}" if first.window is not None else " at once"
    return f"{first.resource}: {used} of {limit} {first.unit}{over}{_ahead(state)}"


def _ahead(state: QuotaState) -> str:
    """What is next: used up, until when, or from when."""
    if not state.blocked:
        return ""
    block = state.blocked[0]
    until = f" until {rfc3339(block.until)}" if block.until is not None else ""
    if block.start <= state.forecast[0].at if state.forecast else True:
        return f", used up{until}"
    return f", used up from {rfc3339(block.start - block.start % 1_000_000)} if all keeps running"


def _stretches(blocks: Iterable[Block]) -> list[Json]:
    return [{"from": rfc3339(b.start)} | ({} if b.until is None else {"until": rfc3339(b.until)}) for b in blocks]


def _names(kind: str, names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{kind}{'s' if len(names) > 1 else ''} {shown}{more}"
