"""A policy that is applied says so; one that is not says why, and never takes the operator down."""

from typing import Any

import pytest
from hubquota.domain.usage import HOUR, Segment

from hubquota.cluster.policies import MOST, Tally, applied, read, status
from hubquota.domain.policy import Policy, Scope
from hubquota.domain.standing import standing

GOOD: dict[str, Any] = {
    "scope": {"everyone": True},
    "resource": "memory",
    "limit": {"value": 40, "unit": "GiB-hours"},
    "window": {"rolling": "7d"},
}


def stored_body(spec: object, name: str = "p", **more: object) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": "u", "generation": 3}, "spec": spec} | more


def ready(body: dict[str, Any], now: int = HOUR) -> dict[str, Any]:
    stored = read(body)
    found: dict[str, Any] = status(stored, stored.policy, {"users": 0}, None, now)["conditions"][0]
    return found


def test_an_applied_policy_says_whom_and_what_it_is_about() -> None:
    stored = read(stored_body(GOOD))
    told = status(stored, stored.policy, {"users": 2}, None, HOUR)
    assert (told["who"], told["quota"], told["enforcement"]) == (
        "everyone",
        "40 GiB-hours of memory in 7d, each",
        "Deny",
    )
    assert (told["observedGeneration"], told["conditions"][0]["status"]) == (3, "True")


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        (GOOD | {"enforcement": "Stop"}, "Invalid", "enforcement"),
        (None, "Invalid", "scope"),
        ({"scope": 3}, "Invalid", "scope"),
        (GOOD | {"window": {"calendar": "Day", "timeZone": "UTC"}}, "NotSupportedYet", "rolling"),
    ],
)
def test_one_that_slipped_past_is_told_why_it_is_not_applied(spec: object, reason: str, words: str) -> None:
    condition = ready(stored_body(spec))
    assert (condition["status"], condition["reason"]) == ("False", reason)
    assert words in condition["message"]


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
    told = status(policies[-1], None, {}, None, HOUR)
    assert told["conditions"][0]["reason"] == "TooManyPolicies"


def test_at_the_cap_every_policy_says_so_and_keeps_what_else_was_told() -> None:
    other = {"type": "Conflict", "status": "True", "reason": "CombineDiffers", "message": "m"}
    stored = read(stored_body(GOOD, status={"conditions": [other]}))
    told = status(stored, stored.policy, {}, None, HOUR, 50_000)["conditions"]
    assert [(c["type"], c["status"], c["reason"]) for c in told] == [
        ("Ready", "True", "Applied"),
        ("Enforced", "False", "TooManyUserQuotas"),
        ("Conflict", "True", "CombineDiffers"),
    ]
    assert "cap of 50000 UserQuotas" in told[1]["message"]
    later = read(stored_body(GOOD, status={"conditions": told}))
    after = status(later, later.policy, {}, None, HOUR)["conditions"]
    assert [c["type"] for c in after] == ["Ready", "Conflict"]


def test_a_tally_follows_each_user_from_standing_to_standing() -> None:
    policy = Policy("p", Scope(everyone=True), "memory", 10 * HOUR, "GiB-hours", 24 * HOUR)
    tally = Tally()

    def seen(amount: int) -> dict[str, Any]:
        held = {"memory": [Segment(amount, 0, HOUR)]}
        tally.take("a", standing([policy], "a", frozenset(), held, 0, HOUR))
        return tally.counts("p")

    assert seen(1) == {"users": 1, "near": 0, "exhausted": 0}
    assert seen(9) == {"users": 1, "near": 1, "exhausted": 0}
    assert seen(10) == {"users": 1, "near": 0, "exhausted": 1}
    tally.take("a", standing([], "a", frozenset(), {}, 0, HOUR))
    assert tally.counts("p") == {"users": 0, "near": 0, "exhausted": 0}
    seen(1)
    tally.drop("a")
    assert tally.counts("p") == {"users": 0, "near": 0, "exhausted": 0}
