"""Several policies on one user come to one quota of each kind, by fixed rules."""

from dataclasses import replace

import pytest

from hubquota.domain.measure import Measure
from hubquota.domain.policy import Combine, Enforcement, Policy, Scope
from hubquota.domain.quotas import combined, covering, per_user
from hubquota.domain.units import decimal, for_people, to_base
from hubquota.domain.windows import HOUR, Fixed, Rolling
from tests.domain import histories


def policy(name: str, limit: int | None = 10, combine: Combine = Combine.MIN, **more: object) -> Policy:
    return replace(histories.policy(name, limit, combine=combine), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policies", "limit", "deciding"),
    [
        ([policy("a", 5), policy("b", 3)], 3, ["b"]),
        ([policy("a", 5, Combine.MAX), policy("b", 3, Combine.MAX)], 5, ["a"]),
        ([policy("a", 5, Combine.SUM), policy("b", 3, Combine.SUM)], 8, ["a", "b"]),
        ([policy("a", 5, Combine.SUM), policy("b", 3, Combine.MAX)], 3, ["b"]),
        ([policy("a", 3), policy("b", 9, Combine.OVERRIDE), policy("c", 7, Combine.OVERRIDE)], 9, ["b"]),
        ([policy("a", 0), policy("b", 9, Combine.OVERRIDE)], 0, ["a"]),
        ([policy("a", 0), policy("b", None, Combine.OVERRIDE)], 0, ["a"]),
    ],
    ids=["min", "max", "sum", "disagreement is min", "largest override alone", "zero wins", "zero wins over unlimited"],
)
def test_policies_of_one_kind_combine(policies: list[Policy], limit: int, deciding: list[str]) -> None:
    quota = combined(policies)
    assert (quota.limit, [p.name for p in quota.policies[: quota.deciding]]) == (limit, deciding)


def test_an_unlimited_override_lifts_the_quota() -> None:
    quota = combined([policy("a", 3), policy("b", None, Combine.OVERRIDE), policy("c", 7, Combine.OVERRIDE)])
    assert (quota.limit, quota.first.name) == (None, "b")


def test_policies_that_disagree_say_so() -> None:
    quota = combined([policy("a", 5, Combine.SUM), policy("b", 3, Combine.MAX)])
    assert quota.conflict


def test_a_combined_quota_has_common_exceptions_lowest_warning_and_the_deciding_words() -> None:
    strict = policy("a", 3, except_profiles=frozenset({"tiny", "cpu"}), warn_at=80, message="ask A")
    loose = policy("b", 5, except_profiles=frozenset({"tiny"}), warn_at=70, message="ask B")
    quota = combined([strict, loose])
    assert (quota.except_profiles, quota.warn_at, quota.message) == (frozenset({"tiny"}), 70, "ask A")


def test_windows_and_enforcements_stay_quotas_of_their_own() -> None:
    quotas = per_user([policy("a"), policy("b", window=Rolling(HOUR)), policy("c", enforcement=Enforcement.WARN)])
    assert sorted(q.first.name for q in quotas) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("other", "holds"),
    [
        (policy("x", scope=Scope(groups=frozenset({"staff"}))), False),
        (policy("x", scope=Scope(users=frozenset({"alice"})), enforcement=Enforcement.WARN), False),
        (policy("x", enforcement=Enforcement.OBSERVE), True),
        (policy("x", measure=Measure("cpu")), True),
        (policy("x", scope=Scope(users=frozenset({"alic"}))), True),
        (policy("x", scope=Scope(users=frozenset({"Alice"}))), True),
    ],
    ids=["group", "warn", "observe covers nobody", "other resource", "prefix", "case"],
)
def test_a_fallback_holds_only_where_nothing_else_covers(other: Policy, holds: bool) -> None:
    fallback = policy("fallback", scope=Scope(fallback=True))
    found = covering([other, fallback], "alice", frozenset({"staff"}), 0)
    assert (fallback in found) is holds


def test_a_limit_is_whole_base_units() -> None:
    assert to_base("1.5", "GiB-hours") == 3 * 2**29 * HOUR
    assert to_base("0.0000000000001", "GPU-hours") == 1


def test_an_amount_is_cut_and_a_forecast_rounded_up() -> None:
    assert decimal(10**18, "CPU-hours") == "277777.777777"
    assert decimal(10**18, "CPU-hours", up=True) == "277777.777778"


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("999.999999", "999.9"),
        ("1000", "1,000"),
        ("0", "0"),
        ("0.004", "0.004"),
        ("500", "500"),
        ("1234.56", "1,234.5"),
    ],
)
def test_people_never_read_a_limit_that_is_not_reached(amount: str, text: str) -> None:
    assert for_people(amount) == text


def test_an_observed_policy_shows_what_it_and_the_denying_ones_would_come_to() -> None:
    deny, warn = policy("deny", 5), policy("warn", 1, enforcement=Enforcement.WARN)
    tighter = policy("tighter", 3, enforcement=Enforcement.OBSERVE)
    looser = policy("looser", 9, enforcement=Enforcement.OBSERVE)
    found = {q.name: (q.limit, q.enforcement) for q in per_user([deny, warn, tighter, looser])}
    assert found == {
        "deny": (5, Enforcement.DENY),
        "warn": (1, Enforcement.WARN),
        "tighter": (3, Enforcement.OBSERVE),
        "looser": (5, Enforcement.OBSERVE),
    }


def test_an_event_covers_nobody_before_and_after() -> None:
    event = policy("event", window=Fixed(HOUR, 2 * HOUR))
    fallback = policy("fallback", scope=Scope(fallback=True))
    found = [[p.name for p in covering([event, fallback], "a", frozenset(), at)] for at in (0, HOUR, 2 * HOUR)]
    assert found == [["fallback"], ["event"], ["fallback"]]
