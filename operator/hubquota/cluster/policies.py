"""The policies of one hub: which of them hold, and what is to be said of the others."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from hubquota.domain.pods import rfc3339
from hubquota.domain.policy import Policy
from hubquota.domain.standing import QuotaState, Standing
from hubquota.resources import reasons
from hubquota.resources.conditions import condition, with_conditions
from hubquota.resources.policy import NotSupportedYet, PolicySpec, to_policy
from hubquota.resources.status import Json, granted, quota_json, who
from hubquota.resources.wording import faults

#: Policies that a hub may have; more are not applied, and say so.
MOST: Final = 200
_LONGEST_MESSAGE: Final = 2000


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


def _understood(name: str, spec: Mapping[str, Any]) -> tuple[Policy | None, str, str]:
    try:
        return to_policy(name, PolicySpec.model_validate(spec)), reasons.APPLIED, "the policy is applied"
    except ValidationError as error:
        return None, reasons.INVALID, faults(error)[:_LONGEST_MESSAGE]
    except NotSupportedYet as fault:
        return None, reasons.NOT_SUPPORTED_YET, str(fault)


class Tally:
    """For each policy whom it holds for, who is near its end and who used it up; kept from standing to standing."""

    def __init__(self) -> None:
        self._users: dict[str, dict[str, tuple[bool, bool]]] = {}

    def take(self, user: str, standing: Standing) -> None:
        """Take in where a user stands now."""
        held = {policy.name: _marks(state, standing.at) for state in standing.quotas for policy in state.quota.policies}
        for name, users in self._users.items():
            if name not in held:
                users.pop(user, None)
        for name, marks in held.items():
            self._users.setdefault(name, {})[user] = marks

    def forget(self, policy: str) -> None:
        """A policy is gone."""
        self._users.pop(policy, None)

    def drop(self, user: str) -> None:
        """A user is gone."""
        for users in self._users.values():
            users.pop(user, None)

    def counts(self, policy: str) -> Json:
        """Users in all, near the end, and at it."""
        marks = self._users.get(policy, {}).values()
        near, exhausted = sum(n for n, _ in marks), sum(e for _, e in marks)
        return {"users": len(marks), "near": near, "exhausted": exhausted}


def status(
    stored: Stored, active: Policy | None, counts: Json, pool: QuotaState | None, now: int, cap: int | None = None
) -> Json:
    """The status of a QuotaPolicy. ``active`` None: it is not applied. ``pool``: the state of a Shared one.

    ``cap``: the hub has as many UserQuotas as it may have, this many; None: it has fewer.
    """
    told: Json = {"observedGeneration": stored.generation, "asOf": rfc3339(now)} | counts
    reason, message = stored.reason, stored.message
    if stored.policy is not None:
        told |= {
            "who": who(stored.policy.scope),
            "quota": granted(stored.policy),
            "enforcement": str(stored.policy.enforcement),
        }
        if active is None:
            reason, message = reasons.TOO_MANY_POLICIES, f"the hub has more than {MOST} policies: delete some"
    # A field that no longer applies is taken away, not left as it was.
    told["pool"] = None if pool is None else quota_json(pool)
    told["conditions"] = _conditions(stored, active is not None, reason, message, cap, now)
    return told


def _conditions(stored: Stored, active: bool, reason: str, message: str, cap: int | None, now: int) -> list[Json]:
    """Ready; Enforced=False while the hub is at its ``cap`` of UserQuotas; and what else was told before."""
    common = {"generation": stored.generation, "now": now}
    ready = condition(stored.conditions, reasons.READY, holds=active, reason=reason, message=message, **common)
    if cap is None:
        others = [c for c in stored.conditions if c.get("reason") != reasons.TOO_MANY_USER_QUOTAS]
        return with_conditions(others, ready)
    why = reasons.TOO_MANY_USER_QUOTAS
    text = full(cap)
    enforced = condition(stored.conditions, reasons.ENFORCED, holds=False, reason=why, message=text, **common)
    return with_conditions(stored.conditions, ready, enforced)


def full(cap: int) -> str:
    """What it means that a hub is at its cap of UserQuotas, and what to do."""
    return (
        f"the hub is at its cap of {cap} UserQuotas: no more are made, and launches of users without one are not "
        "judged but go by the hook's failover_open; delete the UserQuotas of users who are gone, or raise the "
        "operator's max_user_quotas"
    )


def _marks(state: QuotaState, now: int) -> tuple[bool, bool]:
    """Near the end but not at it, and at it."""
    exhausted = state.blocked_at(now)
    return not exhausted and state.used * 100 >= state.quota.limit * state.quota.warn_at, exhausted
