"""Standings as the statuses tell them: exact times, amounts that are never rounded up, a line for people."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from hubquota.domain.course import Block
from hubquota.domain.measure import prices
from hubquota.domain.pods import rfc3339
from hubquota.domain.policy import Enforcement, Policy, Scope
from hubquota.domain.standing import QuotaState, Standing
from hubquota.domain.units import decimal, exactly, for_people, per_hour
from hubquota.domain.windows import Calendar, Fixed, Rolling, Window
from hubquota.resources.wording import printable

Json = dict[str, Any]

#: Characters of a line for people; the CRDs allow as many.
_LONGEST: Final = 1000
#: Names of a scope that are listed before it is said how many more there are.
_NAMED: Final = 3


def user_status(standing: Standing, running: Sequence[Json], generation: int, pending: Sequence[str] = ()) -> Json:
    """The status of a UserQuota. ``generation`` is that of the spec which the standing speaks for.

    ``pending``: names of servers that are on their way.
    """
    ahead = {} if standing.foreseen is None else {"foreseenUntil": rfc3339(standing.foreseen)}
    return ahead | {
        "observedGeneration": generation,
        "asOf": rfc3339(standing.at),
        "decision": standing.verdict,
        "summary": summary(standing),
        "quotas": [quota_json(state) for state in standing.quotas],
        "pools": list(standing.pools),
        "running": list(running),
        "pending": list(pending),
    }


def quota_json(state: QuotaState) -> Json:
    """One quota's state; fields without a value are left out."""
    quota, unit = state.quota, state.quota.first.unit
    told: Json = {
        "name": quota.name,
        "policies": [p.name for p in quota.policies],
        "resource": quota.first.resource,
        "base": decimal(quota.limit or 0, unit),
        "limit": decimal(state.limit, unit),
        "held": decimal(state.held, unit),
        "unit": unit,
        "coveredSince": rfc3339(state.covered_since),
        "blocked": _stretches(state.blocked),
        "blockedIfStopped": _stretches(state.blocked_if_stopped),
        "forecast": [{"at": rfc3339(v.at), "used": decimal(v.used, unit, up=True)} for v in state.forecast],
        "enforcement": str(quota.enforcement),
        "exceptProfiles": sorted(quota.except_profiles),
        "warnAt": quota.warn_at,
        "message": quota.message,
    }
    return told | _where_there_is(state)


def window_json(window: Window) -> Json:
    """A window as the policy has it."""
    match window:
        case Rolling(text=text):
            return {"rolling": text}
        case Calendar(period=period, zone=zone, sunday=sunday):
            week = {"weekStart": "Sunday" if sunday else "Monday"} if period == "Week" else {}
            return {"calendar": str(period), "timeZone": zone} | week
        case Fixed(start=start, end=end):
            return {"fixed": {"start": rfc3339(start), "end": rfc3339(end)}}


def summary(standing: Standing) -> str:
    """A line for people, as of its instant: it names instants, never durations, for it is read later."""
    shown = [s for s in standing.quotas if s.quota.enforcement is not Enforcement.OBSERVE]
    lines = [_line(s, standing.at) for s in sorted(shown, key=lambda s: not s.blocked_at(standing.at))]
    pools = [name for name in standing.pools if name not in standing.observed_pools]
    lines += [f"shared: {', '.join(pools)}"] if pools else []
    return "; ".join(lines)[:_LONGEST] or "no limit"


def who(scope: Scope) -> str:
    """Whom a policy holds for, for people."""
    if scope.everyone or scope.fallback:
        return "everyone" if scope.everyone else "everyone whom no other policy covers"
    parts = (("group", scope.groups), ("user", scope.users))
    return " and ".join(_names(kind, sorted(names)) for kind, names in parts if names)[:_LONGEST]


def granted(policy: Policy) -> str:
    """What a policy grants, for people: ``40 GiB-hours of memory in 7d, each``."""
    each = "shared" if policy.shared else "each"
    if policy.limit is None:
        return f"unlimited {policy.resource}{over(policy)}"
    amount = f"{for_people(decimal(policy.limit, policy.unit))} {policy.unit}"
    of = "" if policy.unit == policy.resource else f" of {policy.resource}"
    return f"{amount}{of}{over(policy)}, {each}"


def over(policy: Policy) -> str:
    """The time over which a policy counts, to follow an amount: `` in 7d``, `` each Month``."""
    match policy.window:
        case Rolling(text=text):
            return f" in {text}"
        case Calendar(period=period, zone=zone):
            return f" each {period} ({zone})"
        case Fixed(start=start, end=end):
            return f" from {rfc3339(start)} to {rfc3339(end)}"
        case None:
            return " at once" if policy.resource == "servers" else ""


def _where_there_is(state: QuotaState) -> Json:
    """The fields that not every quota has."""
    first = state.quota.first
    told: Json = {}
    if state.used is not None:
        told["used"] = decimal(state.used, first.unit)
    if first.window is not None:
        told |= {"window": window_json(first.window), "perHour": per_hour(state.rate, first.unit)}
    if first.measure.weights:
        told["weights"] = [{"resource": r, "perHour": exactly(p)} for r, p in prices(first.measure).items()]
    if state.quota.deciding > 1:
        told["deciding"] = state.quota.deciding
    if state.foreseen is not None:
        told["foreseenUntil"] = rfc3339(state.foreseen)
    if state.groups:
        told["group"] = state.groups[0]
    return told


def _line(state: QuotaState, now: int) -> str:
    first = state.quota.first
    used = "not known" if state.used is None else for_people(decimal(state.used, first.unit))
    limit = for_people(decimal(state.limit, first.unit))
    return f"{first.resource}: {used} of {limit} {first.unit}{over(first)}{_ahead(state, now)}"


def _ahead(state: QuotaState, now: int) -> str:
    """What is next: used up, up to when, or from when."""
    if not state.blocked:
        return ""
    block = state.blocked[0]
    if block.start <= now:
        return f", used up until {rfc3339(block.until)}" if block.until is not None else ", used up"
    return f", used up from {rfc3339(block.start - block.start % 1_000_000)} if all keeps running"


def _stretches(blocks: Iterable[Block]) -> list[Json]:
    return [{"from": rfc3339(b.start)} | ({} if b.until is None else {"until": rfc3339(b.until)}) for b in blocks]


def _names(kind: str, names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{kind}{'s' if len(names) > 1 else ''} {shown}{more}"
