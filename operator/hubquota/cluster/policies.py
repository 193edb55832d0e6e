"""The policies of one hub: which of them hold, and what is to be said of each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from hubquota.cluster.findings import Findings
from hubquota.domain.pods import rfc3339
from hubquota.domain.policy import Enforcement, Policy
from hubquota.domain.standing import QuotaState
from hubquota.domain.tally import Summary
from hubquota.domain.units import decimal
from hubquota.resources import reasons
from hubquota.resources.conditions import condition, with_conditions
from hubquota.resources.policy import PolicySpec, to_policy
from hubquota.resources.status import Json, granted, quota_json, who
from hubquota.resources.wording import faults, printable

#: Policies that a hub may have; more are not applied, and say so.
MOST: Final = 200
_LONGEST_MESSAGE: Final = 2000
#: Names that a message lists before it says how many more there are.
_LISTED: Final = 10
#: What is said only where it is so, or was.
_REMARKS: Final = (
    reasons.CONFLICT,
    reasons.INEFFECTIVE,
    reasons.NOTHING_METERED,
    reasons.UNWEIGHTED,
    reasons.UNKNOWN_NAMES,
    reasons.LEDGER_AWAY,
)


@dataclass(frozen=True, slots=True)
class Stored:
    """One QuotaPolicy as it was read. ``policy`` None: it is not applied, for ``reason``."""

    name: str
    uid: str
    generation: int
    spec: Mapping[str, Any]
    policy: Policy | None
    reason: str
    message: str
    conditions: tuple[Json, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What the operator knows of a policy. ``pool``: the state of a Shared one. ``refused`` and
    ``would_have_refused``: launches. ``owed``: users whose statuses do not
    reflect it yet. ``cap``: the hub has as many UserQuotas as it may have, this many; None: it has fewer.
    ``covering``: the policies of the same resource that cover everyone, where it is a fallback. ``ledger_away``: since
    when the ledger cannot be written; None: it can.
    """

    summary: Summary
    findings: Findings = field(default_factory=Findings)
    heaviest: tuple[tuple[str, int], ...] = ()
    pool: QuotaState | None = None
    refused: int = 0
    would_have_refused: int = 0
    owed: int = 0
    cap: int | None = None
    covering: tuple[str, ...] = ()
    ledger_away: int | None = None


def read(body: Mapping[str, Any]) -> Stored:
    """A QuotaPolicy as the API server tells it. One that slipped past an older CRD is told so, and never raises."""
    metadata = body["metadata"]
    spec = body.get("spec") or {}
    policy, reason, message = _understood(metadata["name"], spec)
    conditions = tuple((body.get("status") or {}).get("conditions") or ())
    generation = metadata.get("generation", 0)
    return Stored(metadata["name"], metadata["uid"], generation, spec, policy, reason, message, conditions)


def applied(policies: Iterable[Stored]) -> dict[str, Policy]:
    """Those that hold, by name: the first 200 by name, so that all operators take the same."""
    valid = sorted((p.policy for p in policies if p.policy is not None), key=lambda p: p.name)
    return {p.name: p for p in valid[:MOST]}


def named_groups(spec: Mapping[str, Any]) -> list[str]:
    """The groups that a policy names; none where it is not what a policy should be."""
    scope = spec.get("scope")
    groups = scope.get("groups") if isinstance(scope, Mapping) else None
    return [name for name in groups if isinstance(name, str)] if isinstance(groups, list) else []


def longest_window(policies: Iterable[Policy]) -> int:
    """How far the policies look back, in microseconds; 0: not at all."""
    return max((policy.window.reach for policy in policies if policy.window is not None), default=0)


def covering_everyone(policy: Policy, others: Iterable[Policy]) -> tuple[str, ...]:
    """The policies that leave a fallback nobody, by name."""
    if not policy.scope.fallback:
        return ()
    alike = (p for p in others if p.resource == policy.resource and p.scope.everyone)
    return tuple(sorted(p.name for p in alike if p.enforcement is not Enforcement.OBSERVE))


def status(stored: Stored, active: Policy | None, facts: Facts, now: int) -> Json:
    """The status of a QuotaPolicy. ``active`` None: it is not applied."""
    told: Json = {"observedGeneration": stored.generation, "asOf": rfc3339(now)}
    told |= {"users": facts.summary.users, "near": facts.summary.near, "exhausted": facts.summary.exhausted}
    told |= {"refused": facts.refused, "wouldHaveRefused": facts.would_have_refused}
    if stored.policy is not None:
        unit = stored.policy.unit
        told |= {
            "who": who(stored.policy.scope),
            "quota": granted(stored.policy),
            "enforcement": str(stored.policy.enforcement),
            "heaviest": [{"user": user, "used": decimal(used, unit)} for user, used in facts.heaviest],
        }
    # A field that no longer applies is taken away, not left as it was.
    told["pool"] = None if facts.pool is None else quota_json(facts.pool)
    told["conditions"] = _conditions(stored, active, facts, now)
    return told


def full(cap: int) -> str:
    """What it means that a hub is at its cap of UserQuotas, and what to do."""
    return (
        f"the hub is at its cap of {cap} UserQuotas: no more are made, and launches of users without one are not "
        "judged but go by the hook's failover_open; delete the UserQuotas of users who are gone, or raise the "
        "operator's max_user_quotas"
    )


def _understood(name: str, spec: Mapping[str, Any]) -> tuple[Policy | None, str, str]:
    try:
        return to_policy(name, PolicySpec.model_validate(spec)), reasons.APPLIED, "the policy is applied"
    except ValidationError as error:
        return None, reasons.INVALID, faults(error)[:_LONGEST_MESSAGE]


def _conditions(stored: Stored, active: Policy | None, facts: Facts, now: int) -> list[Json]:
    """Ready and Enforced always; the remarks that hold, and those that held before, as holding no more."""
    told = {reasons.READY: _ready(stored, active), reasons.ENFORCED: _enforced(active, facts)}
    held = {c.get("type") for c in stored.conditions}
    remarks = {} if active is None else _remarks(active, facts)
    for kind in _REMARKS:
        if kind in remarks:
            told[kind] = (True, *remarks[kind])
        elif kind in held:
            told[kind] = (False, reasons.NOT_SO, "it is not so any more")
    common = {"generation": stored.generation, "now": now}
    made = [
        condition(stored.conditions, kind, holds=holds, reason=reason, message=text[:_LONGEST_MESSAGE], **common)
        for kind, (holds, reason, text) in told.items()
    ]
    return with_conditions(stored.conditions, *made)


def _ready(stored: Stored, active: Policy | None) -> tuple[bool, str, str]:
    if stored.policy is not None and active is None:
        return False, reasons.TOO_MANY_POLICIES, f"the hub has more than {MOST} policies: delete some"
    return active is not None, stored.reason, stored.message


def _enforced(active: Policy | None, facts: Facts) -> tuple[bool, str, str]:
    if active is None:
        return False, reasons.NOT_APPLIED, "the policy is not applied: see Ready"
    if facts.cap is not None:
        return False, reasons.TOO_MANY_USER_QUOTAS, full(facts.cap)
    if facts.owed:
        return False, reasons.UPDATING, "some UserQuotas do not reflect the policy yet"
    return True, reasons.UP_TO_DATE, "every UserQuota reflects the policy"


def _remarks(policy: Policy, facts: Facts) -> dict[str, tuple[str, str]]:
    """What an admin should know: reason and sentence, by condition."""
    summary, findings = facts.summary, facts.findings
    told: dict[str, tuple[str, str]] = {}
    if summary.conflicting:
        told[reasons.CONFLICT] = (
            reasons.COMBINE_DIFFERS,
            "policies of the same kind disagree on combine, so the smallest limit holds: write the same combine in all",
        )
    if facts.covering:
        names = _listed(facts.covering)
        text = f"nobody is left for a fallback: {names} covers everyone; write fallback: true there, or name users"
        told[reasons.INEFFECTIVE] = (reasons.NOBODY_LEFT, text)
    elif summary.users and not summary.deciding:
        text = f"it decides nothing for any of its users, for these do instead: {_listed(summary.outranking)}"
        told[reasons.INEFFECTIVE] = (reasons.OUTRANKED, text)
    if findings.metered is False and summary.users:
        text = f"no pod in scope asked for {_listed(sorted(policy.measure.resources)) or 'what has a price'} in 7 days"
        told[reasons.NOTHING_METERED] = (reasons.NO_REQUESTS, f"{text}: set a request in the hub's profiles")
    if findings.unweighted:
        text = f"these cost nothing, for weights does not name them: {_listed(findings.unweighted)}"
        told[reasons.UNWEIGHTED] = (reasons.NO_PRICE, text)
    if findings.unknown:
        text = (
            f"the hub has shown no user or group of these names: {_listed(findings.unknown)}; mind upper and lower case"
        )
        told[reasons.UNKNOWN_NAMES] = (reasons.NEVER_SEEN, text)
    if facts.ledger_away is not None:
        told[reasons.LEDGER_AWAY] = (
            reasons.NOT_WRITTEN,
            f"the ledger's database cannot be written since {rfc3339(facts.ledger_away)}: usage is metered in memory "
            "and written when it is back; see the operator's log",
        )
    return told


def _listed(names: Iterable[str]) -> str:
    shown = [printable(name) for name in names]
    more = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return ", ".join(shown[:_LISTED]) + more
