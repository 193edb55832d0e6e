"""The CRD and the models take and refuse the same policies, and a refusal says what to write instead."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hubquota.domain.measure import credits_by
from hubquota.domain.pods import micros
from hubquota.domain.units import decimal
from hubquota.domain.windows import DAY, HOUR, Calendar, Fixed, Period, Rolling, Window
from hubquota.resources.policy import PolicySpec, to_policy
from tests.resources.conftest import Judge
from tests.testbed.control_plane import ControlPlane

GOOD: dict[str, Any] = {
    "scope": {"everyone": True},
    "resource": "memory",
    "limit": {"value": 40, "unit": "GiB-hours"},
    "window": {"rolling": "7d"},
}
STORAGE: dict[str, Any] = {
    "scope": {"everyone": True},
    "resource": "storage",
    "limit": {"value": 10, "unit": "GiB"},
    "enforcement": "Warn",
}


def policy(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "hubquota.dev/v1alpha1",
        "kind": "QuotaPolicy",
        "metadata": {"name": "p"},
        "spec": spec,
    }


def model_refuses(spec: dict[str, Any]) -> str:
    try:
        PolicySpec.model_validate(spec)
    except ValidationError as error:
        return str(error)
    return ""


ACCEPTED = {
    "memory": GOOD,
    "decimal": GOOD | {"limit": {"value": "0.5", "unit": "TiB-hours"}},
    "zero": GOOD | {"limit": {"value": 0, "unit": "MiB-hours"}},
    "cpu": GOOD | {"resource": "cpu", "limit": {"value": 1, "unit": "CPU-hours"}},
    "gpu": GOOD | {"resource": "nvidia.com/gpu", "limit": {"value": 1, "unit": "GPU-hours"}},
    "mig": GOOD | {"resource": "nvidia.com/mig-1g.5gb", "limit": {"value": 1, "unit": "device-hours"}},
    "servers at once": {"scope": {"users": ["a"]}, "resource": "servers", "limit": {"value": 2, "unit": "servers"}},
    "server-hours": GOOD | {"resource": "servers", "limit": {"value": 2, "unit": "hours"}},
    "credits": GOOD
    | {
        "resource": "credits",
        "limit": {"value": 2, "unit": "credits"},
        "weights": [{"resource": "cpu", "perHour": 1}, {"resource": "memory", "perHour": "0.25"}],
    },
    "storage": STORAGE,
    "calendar": GOOD | {"window": {"calendar": "Week", "timeZone": "Europe/Berlin", "weekStart": "Sunday"}},
    "fixed": GOOD | {"window": {"fixed": {"start": "2026-09-01T00:00:00Z", "end": "2026-09-02T00:00:00+02:00"}}},
    "unlimited": GOOD | {"limit": {"unlimited": True}, "combine": "Override"},
    "union": GOOD | {"scope": {"users": ["a"], "groups": ["b"]}},
    "fallback": GOOD | {"scope": {"fallback": True}},
    "shared": GOOD | {"sharing": "Shared"},
}

#: Name, spec, and the words that the API server's refusal must hold; our own rules say "write".
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no scope": (GOOD | {"scope": {}}, "scope must say who: write users and/or groups"),
    "empty users": (GOOD | {"scope": {"users": []}}, "scope must say who"),
    "two scopes": (GOOD | {"scope": {"everyone": True, "users": ["a"]}}, "only one of these"),
    "a user twice": (GOOD | {"scope": {"users": ["a", "a"]}}, "Duplicate value"),
    "1,001 users": (GOOD | {"scope": {"users": [str(i) for i in range(1001)]}}, "must have at most 1000 items"),
    "unknown resource": (GOOD | {"resource": "gpu"}, "write it as pods request it, such as nvidia.com/gpu"),
    "wrong unit": (GOOD | {"resource": "cpu"}, "CPU-hours for cpu"),
    "unknown unit": (GOOD | {"limit": {"value": 1, "unit": "GB-hours"}}, 'Unsupported value: "GB-hours"'),
    "GPU-hours of an FPGA": (
        GOOD | {"resource": "xilinx.com/fpga", "limit": {"value": 1, "unit": "GPU-hours"}},
        "device-hours (or GPU-hours for GPUs)",
    ),
    "server-hours without a window": (
        {"scope": {"everyone": True}, "resource": "servers", "limit": {"value": 1, "unit": "hours"}},
        "servers (without)",
    ),
    "half a server": (
        {"scope": {"everyone": True}, "resource": "servers", "limit": {"value": "0.5", "unit": "servers"}},
        "write a whole number",
    ),
    "negative limit": (GOOD | {"limit": {"value": -1, "unit": "GiB-hours"}}, "value must be 0 or more"),
    "a float": (GOOD | {"limit": {"value": 0.5, "unit": "GiB-hours"}}, "must be of type"),
    "a quantity as value": (GOOD | {"limit": {"value": "500G", "unit": "GiB-hours"}}, "write a whole number"),
    "value without unit": (GOOD | {"limit": {"value": 1}}, "write both"),
    "neither value nor unlimited": (GOOD | {"limit": {}}, "limit must say how much: write value and unit"),
    "unlimited without Override": (GOOD | {"limit": {"unlimited": True}}, "write combine: Override"),
    "no window": ({k: v for k, v in GOOD.items() if k != "window"}, "write window, such as rolling: 7d"),
    "two windows": (GOOD | {"window": {"rolling": "7d", "calendar": "Day", "timeZone": "UTC"}}, "exactly one form"),
    "a week": (GOOD | {"window": {"rolling": "1w"}}, "such as 7d, 1d12h or 90m"),
    "too long a window": (GOOD | {"window": {"rolling": "401d"}}, "from 1m to 400d"),
    "no time zone": (GOOD | {"window": {"calendar": "Day"}}, "calendar and timeZone go together"),
    "zone Local": (GOOD | {"window": {"calendar": "Day", "timeZone": "Local"}}, "write a name such as Europe/Berlin"),
    "empty zone": (GOOD | {"window": {"calendar": "Day", "timeZone": ""}}, "write a name such as Europe/Berlin"),
    "an offset": (GOOD | {"window": {"calendar": "Day", "timeZone": "+02:00"}}, "write a name such as Europe/Berlin"),
    "unknown zone": (GOOD | {"window": {"calendar": "Day", "timeZone": "Mars/Base"}}, "write a name such as"),
    "unknown period": (GOOD | {"window": {"calendar": "Fortnight", "timeZone": "UTC"}}, "Unsupported value"),
    "weekStart of a month": (
        GOOD | {"window": {"calendar": "Month", "timeZone": "UTC", "weekStart": "Sunday"}},
        "write calendar: Week",
    ),
    "an end before the start": (
        GOOD | {"window": {"fixed": {"start": "2026-09-02T00:00:00Z", "end": "2026-09-01T00:00:00Z"}}},
        "write an end that is later than start",
    ),
    "a day that is not": (
        GOOD | {"window": {"fixed": {"start": "2026-02-30T00:00:00Z", "end": "2026-09-01T00:00:00Z"}}},
        "write it such as 2026-09-01T00:00:00Z",
    ),
    "unknown enforcement": (GOOD | {"enforcement": "deny"}, 'supported values: "Deny", "Warn", "Observe"'),
    "unknown field": (GOOD | {"limits": 1}, 'unknown field "spec.limits"'),
    "running, which is kept free": (GOOD | {"running": {}}, 'unknown field "spec.running"'),
    "a pool that combines": (GOOD | {"sharing": "Shared", "combine": "Max"}, "leave combine out"),
    "a fallback pool": (GOOD | {"sharing": "Shared", "scope": {"fallback": True}}, "needs to know whom it serves"),
    "weights of memory": (
        GOOD | {"weights": [{"resource": "cpu", "perHour": 1}]},
        "write weights for resource: credits",
    ),
    "storage without enforcement": (
        {k: v for k, v in STORAGE.items() if k != "enforcement"},
        "write enforcement: Warn, Observe or Deny",
    ),
    "storage that locks out": (STORAGE | {"enforcement": "Deny"}, "write exceptProfiles with a small profile"),
    "storage with a window": (STORAGE | {"window": {"rolling": "7d"}}, "every resource but storage"),
    "warnAt 0": (GOOD | {"warnAt": 0}, "greater than or equal to 1"),
    "a long message": (GOOD | {"message": "x" * 1001}, "may not be more than 1000"),
    "missing limit": ({k: v for k, v in GOOD.items() if k != "limit"}, "spec.limit: Required value"),
}


@pytest.mark.cluster
@pytest.mark.parametrize("spec", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_both_take(judge: Judge, spec: dict[str, Any]) -> None:
    assert (judge(policy(spec)), model_refuses(spec)) == ("", "")


@pytest.mark.cluster
@pytest.mark.parametrize(("spec", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_both_refuse_and_the_api_server_says_what_to_write(judge: Judge, spec: dict[str, Any], words: str) -> None:
    assert words in judge(policy(spec))
    assert model_refuses(spec)


@pytest.mark.cluster
def test_ten_megabytes_are_refused_by_size(api: ControlPlane) -> None:
    huge = json.dumps(policy(GOOD | {"message": "x" * 10_000_000}))
    assert "too large" in api.kubectl("create", "--validate=false", "-f", "-", stdin=huge).stderr


def either(*values: object) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


NAMES = st.lists(either("a", "b", "", "x" * 255, "x" * 256, "\u00e9", "<b>"), max_size=3)
AMOUNTS = either(0, 1, 10**12, 10**12 + 1, -1, "1", "0.5", "1.", ".5", "1e3", "", "9" * 12, "9" * 13, " 1", True, 0.5)
UNITS = either(
    "GiB-hours", "CPU-hours", "device-hours", "GPU-hours", "hours", "servers", "credits", "GiB", "TiB", "GB"
)  # fmt: skip
RESOURCES = either(
    "memory", "cpu", "servers", "credits", "storage", "nvidia.com/gpu", "x.org/fpga", "gpu", "a/", "A/b", ""
)  # fmt: skip
WINDOWS = some(
    rolling=st.from_regex(r"\A([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,7}m)?\Z", fullmatch=True) | either("7d", "1w", "٣d"),
    calendar=either("Day", "Week", "Month", "Decade"),
    timeZone=either("UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Local", "", "utc", "../x"),
    weekStart=either("Monday", "Sunday", "Friday"),
    fixed=some(
        start=either("2026-09-01T00:00:00Z", "2026-09-01T00:00:00", "2026-13-01T00:00:00Z", "2024-02-29T00:00:00Z"),
        end=either("2026-09-02T00:00:00+02:00", "2026-08-01T00:00:00Z", "2026-09-31T00:00:00Z", "later"),
    ),
)
WEIGHTS = st.lists(
    some(resource=RESOURCES, perHour=either(1, "0.25", 10**9, 10**9 + 1, -1, "x"))
    | st.just({"resource": "cpu", "perHour": 1}),
    max_size=3,
)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A right policy in which some fields are drawn anew, right or wrong, or left out."""
    base: dict[str, Any] = draw(st.sampled_from(list(ACCEPTED.values())))
    changes = draw(
        some(
            scope=some(users=NAMES, groups=NAMES, everyone=st.booleans(), fallback=st.booleans()),
            resource=RESOURCES,
            weights=WEIGHTS,
            limit=some(value=AMOUNTS, unit=UNITS, unlimited=st.booleans()),
            window=WINDOWS,
            sharing=either("PerUser", "Shared", "shared"),
            combine=either("Min", "Max", "Sum", "Override", "Mean"),
            enforcement=either("Deny", "Warn", "Observe", "Stop"),
            exceptProfiles=NAMES,
            warnAt=either(0, 1, 100, 101, "90"),
            message=either("", "ask", "x" * 1000, "x" * 1001),
            other=either(1),
        )
    )
    kept = draw(st.sets(st.sampled_from(sorted(changes)), max_size=2)) if changes else set()
    return base | {name: changes[name] for name in kept}


@pytest.mark.cluster
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(specs())
def test_crd_and_model_agree_on_whatever_is_written(judge: Judge, spec: dict[str, Any]) -> None:
    server, model = judge(policy(spec)), model_refuses(spec)
    assert bool(server) == bool(model), f"API server: {server or 'takes it'}; model: {model or 'takes it'}"


def test_the_engine_takes_what_is_written() -> None:
    made = to_policy("p", PolicySpec.model_validate(GOOD))
    assert (made.limit, made.window) == (40 * 2**30 * HOUR, Rolling(7 * DAY, "7d"))


@pytest.mark.parametrize(
    ("name", "window", "unit"),
    [
        ("calendar", Calendar(Period.WEEK, "Europe/Berlin", sunday=True), "GiB-hours"),
        ("fixed", Fixed(micros("2026-09-01T00:00:00Z"), micros("2026-09-01T22:00:00Z")), "GiB-hours"),
        ("storage", None, "GiB"),
        ("servers at once", None, "servers"),
        ("unlimited", Rolling(7 * DAY, "7d"), "GiB-hours"),
    ],
)
def test_every_form_of_window_is_taken(name: str, window: Window | None, unit: str) -> None:
    made = to_policy("p", PolicySpec.model_validate(ACCEPTED[name]))
    assert (made.window, made.unit) == (window, unit)


def test_credits_are_taken_at_their_price() -> None:
    made = to_policy("p", PolicySpec.model_validate(ACCEPTED["credits"]))
    assert made.measure == credits_by({"cpu": "1", "memory": "0.25"})
    assert decimal(made.measure.amount({"cpu": 2000, "memory": 2**31}) * HOUR, "credits") == "2.5"


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_every_policy_that_can_be_written_is_applied(name: str) -> None:
    assert to_policy(name, PolicySpec.model_validate(ACCEPTED[name])).name == name
