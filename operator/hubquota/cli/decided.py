"""What hooks decided around an instant, for people and for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import Any, Final

from hubquota.cli.tables import table
from hubquota.domain.history import DecidingQuota, DecisionRecord
from hubquota.domain.pods import rfc3339
from hubquota.domain.units import exactly, for_people
from hubquota.domain.windows import SECOND
from hubquota.resources.wording import printable

#: How far from an instant a decision may lie to be told with it: whoever asks knows a minute, not a second.
AROUND: Final = 600 * SECOND
_HEADS: Final = ("AT", "LAUNCH", "SERVER", "PROFILE", "GROUP", "ASKED FOR", "POLICY", "USED", "WORKS AGAIN")


def as_text(told: Sequence[DecisionRecord], at: int) -> str:
    """The decisions as they were told then, each with the words that the user read."""
    minutes = AROUND // (60 * SECOND)
    if not told:
        return f"no launch was refused or warned of within {minutes} minutes of {rfc3339(at)}, as far as is known"
    rows = [row for one in told for row in _rows(one)]
    words = [f"  {rfc3339(one.at)}: {printable(one.message)}" for one in told if one.message]
    return "\n".join([f"decisions within {minutes} minutes, as they were told", table(_HEADS, rows, "  "), *words])


def as_json(told: Sequence[DecisionRecord]) -> list[dict[str, Any]]:
    """The same for programs: instants as text, requests in base units."""
    return [
        {"id": one.id, "at": rfc3339(one.at), "kind": str(one.kind), "server": one.server, "profile": one.profile}
        | {"group": one.group, "request": dict(one.request), "quotas": [_quota(q) for q in one.quotas]}
        | {"reason": one.message}
        for one in told
    ]


def _rows(one: DecisionRecord) -> list[tuple[str, ...]]:
    head = (rfc3339(one.at), str(one.kind), one.server, one.profile, one.group, _asked(one.request))
    quotas = [(q.policy, _used(q), "" if q.until is None else rfc3339(q.until)) for q in one.quotas]
    first, *others = quotas or [("", "", "")]
    return [(*head, *first), *(("",) * len(head) + other for other in others)]


def _used(quota: DecidingQuota) -> str:
    """Empty where the decision is of a version that told names alone."""
    if not quota.limit:
        return ""
    used = for_people(quota.used) if quota.used else "not known"
    return f"{used} of {for_people(quota.limit)} {quota.unit} of {quota.resource}"


def _asked(request: Mapping[str, int]) -> str:
    return ", ".join(f"{resource} {_amount(resource, amount)}" for resource, amount in sorted(request.items()))


def _amount(resource: str, amount: int) -> str:
    return f"{exactly(Fraction(amount, 2**30))}Gi" if resource == "memory" else exactly(Fraction(amount, 1000))


def _quota(quota: DecidingQuota) -> dict[str, Any]:
    told = {name: value for name, value in asdict(quota).items() if value not in ("", None)}
    until = told.pop("until", None)
    return told if until is None else told | {"exhaustedUntil": rfc3339(until)}
