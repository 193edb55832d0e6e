"""Several policies on one user come to one quota of each kind, by fixed rules."""

from dataclasses import replace

import pytest

from hubquota.domain.policy import Combine, Enforcement, Policy, Scope
from hubquota.domain.quotas import combined, covering, per_user
from hubquota.domain.units import decimal, for_people, to_base
from hubquota.domain.usage import HOUR
from hubquota.domain.windows import rolling

EVERYONE = Scope(everyone=True)


def policy(name: str, limit: int | None = 10, combine: Combine = Combine.MIN, **more: object) -> Policy:
    made = Policy(name, EVERYONE, "memory", limit, "GiB-hours", 7 * 24 * HOUR, combine=combine)
    return replace(made, **more)  # type: ignore[arg-type]


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
    assert quota is not None
    assert (quota.limit, [p.name for p in quota.policies[: quota.deciding]]) == (limit, deciding)


def test_an_unlimited_override_lifts_the_quota() -> None:
    assert combined([policy("a", 3), policy("b", None, Combine.OVERRIDE), policy("c", 7, Combine.OVERRIDE)]) is None


def test_policies_that_disagree_say_so() -> None:
    quota = combined([policy("a", 5, Combine.SUM), policy("b", 3, Combine.MAX)])
    assert quota is not None
    assert quota.conflict


def test_a_combined_quota_has_common_exceptions_lowest_warning_and_the_deciding_words() -> None:
    strict = policy("a", 3, except_profiles=frozenset({"tiny", "cpu"}), warn_at=80, message="ask A")
    loose = policy("b", 5, except_profiles=frozenset({"tiny"}), warn_at=70, message="ask B")
    quota = combined([strict, loose])
    assert quota is not None
    assert (quota.except_profiles, quota.warn_at, quota.message) == (frozenset({"tiny"}), 70, "ask A")


def test_windows_and_enforcements_stay_quotas_of_their_own() -> None:
    quotas = per_user([policy("a"), policy("b", window=HOUR), policy("c", enforcement=Enforcement.WARN)])
    assert sorted(q.first.name for q in quotas) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("other", "holds"),
    [
        (policy("x", scope=Scope(groups=frozenset({"staff"}))), False),
        (policy("x", scope=Scope(users=frozenset({"alice"})), enforcement=Enforcement.WARN), False),
        (policy("x", enforcement=Enforcement.OBSERVE), True),
        (policy("x", resource="cpu"), True),
        (policy("x", scope=Scope(users=frozenset({"alic"}))), True),
        (policy("x", scope=Scope(users=frozenset({"Alice"}))), True),
    ],
    ids=["group", "warn", "observe covers nobody", "other resource", "prefix", "case"],
)
def test_a_fallback_holds_only_where_nothing_else_covers(other: Policy, holds: bool) -> None:
    fallback = policy("fallback", scope=Scope(fallback=True))
    found = covering([other, fallback], "alice", frozenset({"staff"}))
    assert (fallback in found) is holds


@pytest.mark.parametrize(("text", "hours"), [("7d", 168), ("1d12h", 36), ("60m", 1), ("400d", 9600)])
def test_a_rolling_window_is_exact(text: str, hours: int) -> None:
    assert rolling(text) == hours * HOUR


@pytest.mark.parametrize(
    "text", ["", "7", "0m", "401d", "1h1d", "-1d", "1.5d", "7D", "1w", "٣d", "1d24h", "1h60m", "07d", "9600h1m"]
)
def test_a_wrong_window_is_told_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        rolling(text)


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
