"""Whether a status says what a scenario expects; what it says instead."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import hubquota_hook as hook
from hubquota.domain.pods import rfc3339
from hubquota.domain.quantities import base_units, thousandths
from tests.scenarios.vocabulary import Amount, Json, Launch, Quota, Stretch, Told, User, When, instant

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def user_faults(name: str, expected: User, status: Json, now: int) -> Iterator[str]:
    """What a UserQuota's status says otherwise."""
    told = {quota["name"]: quota for quota in status.get("quotas", ())}
    yield from _differs(f"{name}: decision", expected.decision, status.get("decision"))
    yield from _differs(f"{name}: quotas", sorted(expected.quotas), sorted(told))
    yield from _differs(f"{name}: pools", sorted(expected.pools), sorted(status.get("pools", ())))
    for key in expected.quotas.keys() & told.keys():
        yield from quota_faults(f"{name}: {key}", expected.quotas[key], told[key], now)
    if expected.says and expected.says not in status.get("summary", ""):
        yield f"{name}: summary should say {expected.says!r}, not {status.get('summary')!r}"


def pool_faults(name: str, expected: Quota | None, told: Json | None, now: int) -> Iterator[str]:
    """What a QuotaPolicy's status says otherwise of its pool."""
    if expected is None or not told:
        yield from _differs(f"{name}: pool", expected is not None, bool(told))
    else:
        yield from quota_faults(f"{name}: pool", expected, told, now)


def quota_faults(name: str, expected: Quota, told: Json, now: int) -> Iterator[str]:
    """What is told of a quota otherwise."""
    for key, amount in (
        ("used", expected.used), ("limit", expected.limit), ("perHour", expected.per_hour), ("held", expected.held),
        ("base", expected.base),
    ):  # fmt: skip
        yield from _amount_differs(f"{name}: {key}", amount, told.get(key))
    for key, stretches in (("blocked", expected.blocked), ("blockedIfStopped", expected.if_stopped)):
        if stretches is not None:
            yield from _differs(f"{name}: {key}", _stretches(stretches, now), told[key])
    covered = None if expected.covered is None else rfc3339(instant(expected.covered, now))
    for key, plain in (
        ("enforcement", expected.enforcement), ("unit", expected.unit), ("message", expected.message),
        ("warnAt", expected.warn_at), ("coveredSince", covered), ("policies", _list(expected.policies)),
        ("exceptProfiles", _list(expected.exceptions)),
    ):  # fmt: skip
        if plain is not None:
            yield from _differs(f"{name}: {key}", plain, told.get(key))
    if expected.group is not None:
        yield from _differs(f"{name}: group", expected.group, told.get("group", ""))


def policy_faults(name: str, expected: Told, status: Json) -> Iterator[str]:
    """What a QuotaPolicy's status says otherwise."""
    so = {c["type"]: c["reason"] for c in status.get("conditions", ()) if c["status"] == "True"}
    for kind, reason in expected.conditions.items():
        yield from _differs(f"{name}: {kind}", reason, so.get(kind))
    for key in ("users", "near", "exhausted"):
        if (count := getattr(expected, key)) is not None:
            yield from _differs(f"{name}: {key}", count, status.get(key))


def launch_faults(
    user: str,
    launches: Sequence[Launch],
    status: Json,
    pools: Mapping[str, Json | None],
    specs: Mapping[str, Json],
    now: int,
) -> Iterator[str]:
    """What the hook would make of launches otherwise, by these statuses; ``specs``: of the policies, by name."""
    moment = _moment(now)
    policies = {
        name: {"metadata": {"name": name}, "spec": specs.get(name, {}), "status": {"pool": pool}}
        for name, pool in pools.items()
    }
    shared = hook.Shared(policies, moment, moment)
    for launch in launches:
        asked = hook.Launch(user, launch.server, launch.profile, base_request(launch), launch.group)
        what = f"{user}: the hook, {label(launch)}"
        try:
            verdict: Any = hook._answer({"status": status}, shared, asked).verdict
        except hook.Unanswered as why:  # a status may still be written
            yield f"{what}: {why}"
            continue
        yield from _differs(f"{what}: refused by", sorted(launch.by), _names(verdict.refusing))
        yield from _differs(f"{what}: warned of", sorted(launch.warned), _names(verdict.warning))
        if launch.by:
            yield from _differs(f"{what}: until", at(launch.until, now), _told(verdict.until))
            if launch.if_stopped != "":
                stopped = at(launch.if_stopped, now)
                yield from _differs(f"{what}: until, if stopped", stopped, _told(verdict.until_if_stopped))
        if launch.lasts != "":
            ends = [end for q in verdict.open if (end := hook.lasts_until(q, asked, moment)) is not None]
            yield from _differs(f"{what}: lasts until", at(launch.lasts, now), _told(min(ends, default=None)))


def base_request(launch: Launch) -> dict[str, int]:
    """Base units by resource."""
    return {resource: base_units(resource, thousandths(amount)) for resource, amount in launch.asks.items()}


def label(launch: Launch) -> str:
    """A launch in a few words."""
    asked = ", ".join(f"{amount} {resource}" for resource, amount in launch.asks.items())
    more = [word for word in (launch.server, launch.profile, launch.group) if word]
    return f"launch of {asked}{''.join(f' {word}' for word in more)}"


def at(when: When | None, now: int) -> str | None:
    """An instant as a status tells it."""
    return None if when is None else rfc3339(instant(when, now))


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _told(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339((moment - _EPOCH) // timedelta(microseconds=1))


def _names(quotas: Sequence[Json]) -> list[str]:
    return sorted(quota["name"] for quota in quotas)


def _stretches(stretches: Sequence[Stretch], now: int) -> list[Json]:
    return [
        {"from": at(start, now)} | ({} if until is None else {"until": at(until, now)}) for start, until in stretches
    ]


def _list(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)


def _amount_differs(what: str, expected: Amount | None, told: str | None) -> Iterator[str]:
    if expected is None:
        return
    same = told is None if expected == "" else told is not None and Decimal(str(expected)) == Decimal(told)
    if not same:
        yield f"{what} should be {expected!r}, not {told!r}"


def _differs(what: str, expected: object, told: object) -> Iterator[str]:
    if expected != told:
        yield f"{what} should be {expected!r}, not {told!r}"
