"""A policy that is applied says so; one that is not says why, and never takes the operator down."""

import re
from collections import Counter
from typing import Any

import pytest

from hubquota.cluster.findings import Findings
from hubquota.cluster.policies import MOST, Facts, Stored, applied, covering_everyone, read, status
from hubquota.domain.measure import Measure
from hubquota.domain.policy import Enforcement, Scope
from hubquota.domain.tally import Summary
from hubquota.domain.windows import HOUR
from tests.domain.histories import policy

GOOD: dict[str, Any] = {
    "scope": {"everyone": True},
    "resource": "memory",
    "limit": {"value": 40, "unit": "GiB-hours"},
    "window": {"rolling": "7d"},
}


def stored_body(spec: object, name: str = "p", **more: object) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": "u", "generation": 3}, "spec": spec} | more


def told(stored: Stored, now: int = HOUR, *, active: bool = True, **facts: Any) -> dict[str, Any]:  # noqa: ANN401
    """The status, with these facts about it."""
    known = Facts(**({"summary": Summary(users=2, deciding=2)} | facts))
    return status(stored, stored.policy if active else None, known, now)


def by_type(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def ready(body: dict[str, Any], now: int = HOUR) -> dict[str, Any]:
    found: dict[str, Any] = told(read(body), now)["conditions"][0]
    return found


def test_an_applied_policy_says_whom_and_what_it_is_about() -> None:
    found = told(read(stored_body(GOOD)))
    assert (found["who"], found["quota"], found["enforcement"], found["users"]) == (
        "everyone",
        "40 GiB-hours of memory in 7d, each",
        "Deny",
        2,
    )
    assert found["observedGeneration"] == 3
    assert by_type(found) == {"Ready": ("True", "Applied"), "Enforced": ("True", "UpToDate")}


@pytest.mark.parametrize(
    ("spec", "words"),
    [(GOOD | {"enforcement": "Stop"}, "enforcement"), (None, "scope"), ({"scope": 3}, "scope")],
)
def test_one_that_slipped_past_is_told_why_it_is_not_applied(spec: object, words: str) -> None:
    found = told(read(stored_body(spec)))
    assert by_type(found) == {"Ready": ("False", "Invalid"), "Enforced": ("False", "NotApplied")}
    assert words in found["conditions"][0]["message"]


def test_a_condition_keeps_the_instant_of_its_last_change() -> None:
    before = ready(stored_body(GOOD))
    again = ready(stored_body(GOOD, status={"conditions": [before]}), now=5 * HOUR)
    assert again["lastTransitionTime"] == before["lastTransitionTime"]
    changed = ready(stored_body({}, status={"conditions": [before]}), now=5 * HOUR)
    assert changed["lastTransitionTime"] == "1970-01-01T05:00:00Z"


def test_more_policies_than_a_hub_may_have_are_left_out_and_say_so() -> None:
    policies = [read(stored_body(GOOD, f"p{i:04}")) for i in range(MOST + 1)]
    active = applied(policies)
    assert (len(active), f"p{MOST:04}" in active) == (MOST, False)
    assert by_type(told(policies[-1], active=False))["Ready"] == ("False", "TooManyPolicies")


@pytest.mark.parametrize(
    ("facts", "condition", "words"),
    [
        ({"cap": 50_000}, ("Enforced", "False", "TooManyUserQuotas"), "cap of 50000 UserQuotas"),
        ({"owed": 3}, ("Enforced", "False", "Updating"), "do not reflect the policy yet"),
        ({"summary": Summary(users=1, deciding=1, conflicting=1)}, ("Conflict", "True", "CombineDiffers"), "write the"),
        (
            {"summary": Summary(users=1, outranked_by=Counter({"vip": 1}))},
            ("Ineffective", "True", "Outranked"),
            "these do instead: vip",
        ),
        ({"covering": ("all",)}, ("Ineffective", "True", "NobodyLeft"), "all covers everyone; write fallback: true"),
        ({"findings": Findings(metered=False)}, ("NothingMetered", "True", "NoRequests"), "asked for memory in 7 days"),
        ({"findings": Findings(unweighted=("cpu",))}, ("Unweighted", "True", "NoPrice"), "cost nothing.*: cpu"),
        ({"findings": Findings(unknown=("Alice\x1b",))}, ("UnknownNames", "True", "NeverSeen"), r"Alice\\x1b; mind"),
    ],
)
def test_what_an_admin_should_know_is_a_condition(
    facts: dict[str, Any], condition: tuple[str, str, str], words: str
) -> None:
    found = told(read(stored_body(GOOD)), **facts)
    kind, holds, reason = condition
    assert by_type(found)[kind] == (holds, reason)
    message = next(c["message"] for c in found["conditions"] if c["type"] == kind)
    assert re.search(words, message)


def test_a_remark_that_holds_no_more_says_so_and_keeps_its_history() -> None:
    before = told(read(stored_body(GOOD)), findings=Findings(unknown=("x",)))["conditions"]
    after = told(read(stored_body(GOOD, status={"conditions": before})))
    assert by_type(after)["UnknownNames"] == ("False", "NotSo")


def test_a_condition_of_somebody_else_is_left_alone() -> None:
    other = {"type": "Reviewed", "status": "True", "reason": "ByHand", "message": "m"}
    assert by_type(told(read(stored_body(GOOD, status={"conditions": [other]}))))["Reviewed"] == ("True", "ByHand")


def test_a_fallback_is_left_nobody_by_a_policy_of_the_same_resource_for_everyone() -> None:
    fallback = policy("f", scope=Scope(fallback=True))
    others = [
        policy("all"),
        policy("watching", enforcement=Enforcement.OBSERVE),
        policy("cpu", measure=Measure("cpu")),
        policy("group", scope=Scope(groups=frozenset({"x"}))),
    ]
    assert covering_everyone(fallback, others) == ("all",)
    assert covering_everyone(policy("all"), others) == ()


def test_the_heaviest_users_are_named() -> None:
    found = told(read(stored_body(GOOD)), heaviest=(("alice", 3 * 2**30 * HOUR),))
    assert found["heaviest"] == [{"user": "alice", "used": "3"}]
