"""A status reads well, and the API server takes it as it is."""

import json

import pytest
from hubquota.domain.usage import HOUR, Segment

from hubquota.domain.policy import Enforcement, Policy, Scope
from hubquota.domain.standing import Standing, standing
from hubquota.resources.status import granted, user_status, who
from tests.testbed.control_plane import ControlPlane

DAY = 24 * HOUR
GIB = 2**30
NOBODY: frozenset[str] = frozenset()
WEEKLY = Policy("weekly", Scope(everyone=True), "memory", 40 * GIB * HOUR, "GiB-hours", 7 * DAY, "7d", message="Ask IT")
SERVERS = Policy("two", Scope(everyone=True), "servers", 2, "servers", None)


def at_eleven(*policies: Policy, gib: int = 2) -> Standing:
    """Ten hours after a server of so many GiB was placed at 01:00 on 2026-03-01."""
    one = 1_772_326_800 * 1_000_000
    held = {"memory": [Segment(gib * GIB, one)], "servers": [Segment(1000, one)]}
    return standing(policies, "alice", NOBODY, held, one, one + 10 * HOUR)


def test_a_summary_says_what_is_used_of_what_and_what_is_next() -> None:
    told = user_status(at_eleven(WEEKLY, SERVERS), [], 1)
    assert told["summary"] == (
        "memory: 20 of 40 GiB-hours in 7d, used up from 2026-03-01T21:00:00Z if all keeps running; "
        "servers: 1 of 2 servers at once"
    )
    assert (told["decision"], told["asOf"]) == ("Allowed", "2026-03-01T11:00:00Z")


def test_a_used_up_quota_comes_first_and_says_until_when_it_is_so() -> None:
    told = user_status(at_eleven(SERVERS, WEEKLY, gib=4), [], 1)
    assert told["summary"].startswith("memory: 40 of 40 GiB-hours in 7d, used up")
    assert told["decision"] == "Denied"
    quota = next(q for q in told["quotas"] if q["resource"] == "memory")
    assert quota["blocked"] == [{"from": "2026-03-01T11:00:00Z"}]
    assert quota["blockedIfStopped"] == [{"from": "2026-03-01T11:00:00Z", "until": "2026-03-08T01:00:01Z"}]


def test_users_see_nothing_of_observe() -> None:
    shadow = Policy("s", Scope(everyone=True), "memory", 0, "GiB-hours", DAY, "1d", enforcement=Enforcement.OBSERVE)
    told = user_status(at_eleven(shadow), [], 1)
    assert (told["summary"], told["decision"]) == ("no limit", "Allowed")


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (Scope(everyone=True), "everyone"),
        (Scope(fallback=True), "everyone whom no other policy covers"),
        (Scope(users=frozenset({"a"}), groups=frozenset({"x", "y"})), "groups x, y and user a"),
        (Scope(users=frozenset("abcde")), "users a, b, c and 2 more"),
    ],
)
def test_whom_a_policy_holds_for_is_said_in_words(scope: Scope, words: str) -> None:
    assert who(scope) == words


def test_what_a_policy_grants_is_said_in_words() -> None:
    assert granted(WEEKLY) == "40 GiB-hours of memory in 7d, each"
    assert granted(SERVERS) == "2 servers at once, each"


@pytest.mark.cluster
def test_the_api_server_takes_a_status_without_a_warning(api: ControlPlane, namespace: str) -> None:
    running = [{"server": "", "pod": "jupyter-a", "since": "2026-03-01T01:00:00Z", "allocation": {"cpu": "500"}}]
    body = {
        "apiVersion": "hubquota.dev/v1alpha1",
        "kind": "UserQuota",
        "metadata": {"name": "alice", "namespace": namespace},
        "spec": {"user": "alice", "groups": ["a"]},
    }
    made = api.kubectl("create", "-f", "-", stdin=json.dumps(body))
    assert made.returncode == 0, made.stderr
    status = json.dumps({"status": user_status(at_eleven(WEEKLY, SERVERS), running, 1)})
    patched = api.kubectl("patch", "uq", "alice", "-n", namespace, "--subresource=status", "--type=merge", "-p", status)
    assert (patched.returncode, patched.stderr) == (0, "")
    kept = json.loads(api.kubectl("get", "uq", "alice", "-n", namespace, "-o", "json").stdout)["status"]
    assert kept == json.loads(status)["status"]
