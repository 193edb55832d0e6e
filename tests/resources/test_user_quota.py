"""The CRD and the models take and refuse the same UserQuotas, spec and status, and an instant means one thing."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hubquota.domain.measure import Measure
from hubquota.domain.metering import Meter
from hubquota.domain.pods import micros
from hubquota.domain.policy import Policy, Scope
from hubquota.domain.windows import HOUR, Rolling
from hubquota.resources.status import user_status
from hubquota.resources.user_quota import UserQuotaSpec, UserQuotaStatus
from tests.resources.conftest import Judge
from tests.resources.test_policy import either, some

AT = "2026-09-01T09:00:00Z"
QUOTA: dict[str, Any] = {
    "policies": ["weekly"],
    "resource": "memory",
    "limit": "40",
    "used": "1.5",
    "unit": "GiB-hours",
    "enforcement": "Deny",
}
CONDITION = {"type": "Ready", "status": "False", "reason": "Invalid", "message": "m", "lastTransitionTime": AT}


def user_quota(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "metadata": {"name": "u"}, "spec": spec}


def refuses(model: type[UserQuotaSpec | UserQuotaStatus], given: dict[str, Any]) -> str:
    try:
        model.model_validate(given)
    except ValidationError as error:
        return str(error)
    return ""


def observed(at: object) -> dict[str, Any]:
    return {"user": "alice", "groupsObservedAt": at}


ACCEPTED: dict[str, dict[str, Any]] = {
    "a user": {"user": "alice"},
    "an address": {"user": "Álice@uni.edu", "groups": ["students", "staff"], "groupsObservedAt": AT},
    "255 characters of four bytes": {"user": "😀" * 255},
    "control characters, which a hub's users may have": {"user": "a\x1b[31m\nb\u202e", "groups": ["\t"]},
    "256 groups": {"user": "a", "groups": [f"g{i}" for i in range(256)]},
    "null, which is nothing": {"user": "a", "groups": None, "groupsObservedAt": None},
    "nanoseconds": observed("2026-09-01T09:00:00.123456789Z"),
    "an offset": observed("2026-09-01T09:00:00+14:00"),
    "29 February": observed("2028-02-29T23:59:59Z"),
}

#: What is written, and the words that the API server's refusal must hold.
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nobody": ({}, "spec.user: Required value"),
    "null as a user": ({"user": None}, "spec.user: Required value"),
    "an empty name": ({"user": ""}, "should be at least 1 chars long"),
    "256 characters": ({"user": "😀" * 256}, "may not be more than 255"),
    "a number": ({"user": 3}, "must be of type string"),
    "NUL in a user": ({"user": "a\0b"}, "rename the user in the hub"),
    "NUL in a group": ({"user": "a", "groups": ["a\0"]}, "rename the group in the hub"),
    "257 groups": ({"user": "a", "groups": [f"g{i}" for i in range(257)]}, "must have at most 256 items"),
    "a group twice": ({"user": "a", "groups": ["x", "x"]}, 'Duplicate value: "x"'),
    "an empty group": ({"user": "a", "groups": [""]}, "should be at least 1 chars long"),
    "null as a group": ({"user": "a", "groups": [None]}, "must be of type string"),
    "an unknown field": ({"user": "a", "group": "x"}, 'unknown field "spec.group"'),
    "an unknown null": ({"user": "a", "group": None}, 'unknown field "spec.group"'),
    "a name of Python's": ({"user": "a", "groups_observed_at": AT}, 'unknown field "spec.groups_observed_at"'),
    "a small t and z": (observed("2026-09-01t09:00:00z"), "should match"),
    "a comma": (observed("2026-09-01T09:00:00,5Z"), "should match"),
    "ten digits of a second": (observed("2026-09-01T09:00:00.1234567890Z"), "should match"),
    "an offset of a day": (observed("2026-09-01T09:00:00+24:00"), "should match"),
    "words after the zone": (observed("2026-09-01T09:00:00Zt"), "should match"),
    "year 0": (observed("0000-01-01T00:00:00Z"), "should match"),
    "no zone": (observed("2026-09-01T09:00:00"), "must be of type date-time"),
    "a leap second": (observed("2026-12-31T23:59:60Z"), "must be of type date-time"),
    "24 o'clock": (observed("2026-09-01T24:00:00Z"), "must be of type date-time"),
    "a day that is not": (observed("2026-02-29T00:00:00Z"), "must be of type date-time"),
    "a space for T": (observed("2026-09-01 09:00:00Z"), "must be of type date-time"),
    "a line after it": (observed("2026-09-01T09:00:00Z\n"), "must be of type date-time"),
    "seconds since 1970": (observed(1756717200), "must be of type date-time"),
}

ACCEPTED_STATUS: dict[str, dict[str, Any]] = {
    "nothing yet": {},
    "a quota": {"observedGeneration": 1, "asOf": AT, "decision": "Allowed", "summary": "s", "quotas": [QUOTA]},
    "what is ahead": {"quotas": [QUOTA | {"blocked": [{"from": AT}], "forecast": [{"at": AT, "used": "2"}]}]},
    "a calendar": {"quotas": [QUOTA | {"window": {"calendar": "Week", "timeZone": "UTC", "weekStart": "Sunday"}}]},
    "what runs": {"running": [{"pod": "p", "since": AT, "server": "", "allocation": {"cpu": "500"}}]},
    "a condition": {"conditions": [CONDITION]},
    "a refusal": {"lastRefusal": {"at": AT, "server": "", "policies": ["weekly"], "reason": "used up"}},
    "two conditions": {"conditions": [CONDITION, CONDITION | {"type": "Enforced"}]},
    "null": {"quotas": None, "storage": None, "asOf": None},
}
REFUSED_STATUS: dict[str, tuple[dict[str, Any], str]] = {
    "a quota of no policy": ({"quotas": [{k: v for k, v in QUOTA.items() if k != "policies"}]}, "Required value"),
    "201 quotas": ({"quotas": [QUOTA] * 201}, "must have at most 200 items"),
    "nine stretches": ({"quotas": [QUOTA | {"blocked": [{"from": AT}] * 9}]}, "must have at most 8 items"),
    "an amount as a number": ({"quotas": [QUOTA | {"used": 1.5}]}, "must be of type string"),
    "warnAt 0": ({"quotas": [QUOTA | {"warnAt": 0}]}, "greater than or equal to 1"),
    "a stretch without a start": ({"quotas": [QUOTA | {"blocked": [{"until": AT}]}]}, "from: Required value"),
    "a refusal of no time": ({"lastRefusal": {"server": ""}}, "lastRefusal.at: Required value"),
    "17 policies that refused": ({"lastRefusal": {"at": AT, "policies": ["p"] * 17}}, "must have at most 16 items"),
    "a condition twice": ({"conditions": [CONDITION, CONDITION]}, "Duplicate value"),
    "an unknown truth": ({"conditions": [CONDITION | {"status": "Maybe"}]}, "Unsupported value"),
    "a condition of no time": ({"conditions": [CONDITION | {"lastTransitionTime": "now"}]}, "date-time"),
    "a long summary": ({"summary": "x" * 1001}, "may not be more than 1000"),
    "a generation in words": ({"observedGeneration": "1"}, "must be of type integer"),
    "an unknown field": ({"verdict": "Allowed"}, 'unknown field "status.verdict"'),
}


@pytest.mark.cluster
@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_both_take_what_a_hub_says(judge: Judge, spec: dict[str, Any]) -> None:
    assert (judge(user_quota(spec)), refuses(UserQuotaSpec, spec)) == ("", "")


@pytest.mark.cluster
@pytest.mark.parametrize(("spec", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_both_refuse_what_no_hub_says(judge: Judge, spec: dict[str, Any], words: str) -> None:
    assert words in judge(user_quota(spec))
    assert refuses(UserQuotaSpec, spec)


@pytest.mark.cluster
@pytest.mark.parametrize("status", ACCEPTED_STATUS.values(), ids=ACCEPTED_STATUS.keys())
def test_both_take_what_an_operator_says(judge_status: Judge, status: dict[str, Any]) -> None:
    assert (judge_status(status), refuses(UserQuotaStatus, status)) == ("", "")


@pytest.mark.cluster
@pytest.mark.parametrize(("status", "words"), REFUSED_STATUS.values(), ids=REFUSED_STATUS.keys())
def test_both_refuse_a_broken_status(judge_status: Judge, status: dict[str, Any], words: str) -> None:
    assert words in judge_status(status)
    assert refuses(UserQuotaStatus, status)


def changed(base: dict[str, Any], /, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Something right in which at most two fields are drawn anew, right or wrong."""
    names = st.lists(st.sampled_from(sorted(fields)), max_size=2, unique=True)
    return names.flatmap(lambda kept: st.fixed_dictionaries({n: fields[n] for n in kept})).map(lambda new: base | new)


INSTANTS = st.builds(
    "".join,
    st.tuples(
        either("2026", "2028", "1600", "0000", "9999", "99"),
        either("-01-31", "-02-29", "-04-31", "-1-1", "-00-10"),
        either("T", "t", " ", ""),
        either("00:00:00", "23:59:59", "23:59:60", "24:00:00", "23:60:00", "9:00:00", "09:00"),
        either("", ".5", ".123456789", ".1234567890", ",5", "x5", "."),
        either("Z", "z", "+00:00", "-14:59", "+15:00", "+1:00", "+0100", "", "Zt", "Z "),
    ),
)
TIMES = INSTANTS | either(AT, None, 0, "")
SHORT = either("", "a", "x" * 20, "x" * 21, "x" * 63, "x" * 64, "x" * 255, "x" * 256, None, 1)
NAMES = st.lists(st.text(max_size=3) | either("a", "\0", "x" * 255, "x" * 256, "😀" * 255, None), max_size=4)
COUNTS = either(-1, 0, 1, 100, 101, 2**63 - 1, 2**63, -(2**63), True, "1", 0.5, None)
AMOUNTS = either("0", "1.5", "", "9" * 40, "9" * 41, 1, None)
STRETCHES = st.lists(st.dictionaries(either("from", "until"), TIMES), max_size=3)
QUOTAS = changed(
    QUOTA,
    name=SHORT,
    policies=NAMES,
    resource=SHORT,
    window=some(rolling=SHORT, calendar=SHORT, timeZone=SHORT, fixed=some(start=AMOUNTS, end=AMOUNTS)),
    base=AMOUNTS,
    perHour=AMOUNTS,
    coveredSince=TIMES,
    blocked=STRETCHES,
    blockedIfStopped=STRETCHES,
    forecast=st.lists(some(at=TIMES, used=AMOUNTS), max_size=2),
    enforcement=SHORT,
    exceptProfiles=NAMES,
    warnAt=COUNTS,
    message=SHORT,
    group=SHORT,
    other=either(1),
)
ALLOCATIONS = st.dictionaries(either("cpu", "memory", ""), AMOUNTS)
RUNNING = changed({"pod": "p", "since": AT}, server=SHORT, pod=SHORT, since=TIMES, allocation=ALLOCATIONS, other=SHORT)
CONDITIONS = changed(
    CONDITION,
    type=either("Ready", "Enforced", "x" * 64, None),
    status=either("True", "False", "Unknown", "true", True),
    observedGeneration=COUNTS,
    reason=SHORT,
    message=SHORT,
    lastTransitionTime=TIMES,
)
STATUSES = changed(
    {},
    observedGeneration=COUNTS,
    asOf=TIMES,
    decision=SHORT,
    summary=SHORT,
    quotas=st.lists(QUOTAS, max_size=2),
    pools=NAMES,
    running=st.lists(RUNNING, max_size=2),
    storage=some(used=AMOUNTS, limit=AMOUNTS, asOf=TIMES),
    conditions=st.lists(CONDITIONS, max_size=2),
    other=either(1),
)


@pytest.mark.cluster
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changed({"user": "a"}, user=st.text(max_size=4) | SHORT, groups=NAMES, groupsObservedAt=TIMES, other=either(1)))
def test_crd_and_model_agree_on_any_spec(judge: Judge, spec: dict[str, Any]) -> None:
    server, model = judge(user_quota(spec)), refuses(UserQuotaSpec, spec)
    assert bool(server) == bool(model), f"API server: {server or 'takes it'}; model: {model or 'takes it'}"


@pytest.mark.cluster
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STATUSES)
def test_crd_and_model_agree_on_any_status(judge_status: Judge, status: dict[str, Any]) -> None:
    server, model = judge_status(status), refuses(UserQuotaStatus, status)
    assert bool(server) == bool(model), f"API server: {server or 'takes it'}; model: {model or 'takes it'}"


@given(INSTANTS)
def test_every_instant_that_is_taken_can_be_read(text: str) -> None:
    if not refuses(UserQuotaSpec, observed(text)):
        assert micros(text) < 2**63


def test_what_the_operator_writes_is_a_status() -> None:
    policy = Policy("weekly", Scope(everyone=True), Measure("memory"), HOUR, "GiB-hours", Rolling(24 * HOUR, "1d"))
    status = user_status(Meter(0).standing([policy], "a", frozenset(), 24 * HOUR), [], 1)
    assert UserQuotaStatus.model_validate(status).quotas[0].policies == ("weekly",)
