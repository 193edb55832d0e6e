"""A status reads well, and the API server takes it as it is."""

import json

import pytest

from hubquota.domain.measure import Measure, credits_by
from hubquota.domain.policy import Enforcement, Policy, Scope
from hubquota.domain.standing import Standing, standing
from hubquota.domain.windows import DAY, HOUR, Calendar, Fixed, Period, Rolling, Window
from hubquota.resources.status import granted, user_status, who, window_json
from hubquota.resources.user_quota import UserQuotaStatus
from tests.domain.histories import NOBODY, holdings, policy
from tests.testbed.control_plane import ControlPlane

GIB = 2**30
WEEKLY = policy("weekly", 40 * GIB * HOUR, Rolling(7 * DAY, "7d"), message="Ask IT")
SERVERS = policy("two", 2, None, measure=Measure("servers"), unit="servers")
MONTHLY = policy("monthly", 40 * GIB * HOUR, Calendar(Period.MONTH, "Europe/Berlin"))
CREDITS = policy(
    "credits", 10**9 * HOUR * GIB * 125 * 5, Rolling(DAY, "1d"), measure=credits_by({"memory": "0.25"}), unit="credits"
)
STORAGE = policy("home", 10 * GIB, None, measure=Measure("storage"), unit="GiB")
ALL = (WEEKLY, SERVERS, MONTHLY, CREDITS, STORAGE)
#: 2026-03-01T01:00:00Z
ONE = 1_772_326_800 * 1_000_000


def at_eleven(*policies: Policy, gib: int = 2, storage: int | None = None) -> Standing:
    """Ten hours after a server of so many GiB was placed at 01:00 on 2026-03-01."""
    held = holdings([({"memory": gib * GIB, "servers": 1000}, ONE, None)], ONE, servers=1, storage=storage)
    return standing(policies, "alice", NOBODY, held, ONE + 10 * HOUR)


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
    shadow = policy("s", 0, enforcement=Enforcement.OBSERVE)
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


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (MONTHLY, "40 GiB-hours of memory each Month (Europe/Berlin), each"),
        (CREDITS, "5 credits in 1d, each"),
        (STORAGE, "10 GiB of storage, each"),
        (policy("event", 5, Fixed(ONE, ONE + DAY), shared=True), "0 GiB-hours of memory from 2026-03-01T01:00:00Z"),
    ],
)
def test_every_kind_of_policy_is_said_in_words(of: Policy, words: str) -> None:
    assert granted(of).startswith(words)


@pytest.mark.parametrize(
    ("window", "told"),
    [
        (Rolling(DAY, "1d"), {"rolling": "1d"}),
        (Calendar(Period.MONTH, "UTC"), {"calendar": "Month", "timeZone": "UTC"}),
        (Calendar(Period.WEEK, "UTC"), {"calendar": "Week", "timeZone": "UTC", "weekStart": "Monday"}),
        (Calendar(Period.WEEK, "UTC", True), {"calendar": "Week", "timeZone": "UTC", "weekStart": "Sunday"}),
        (Fixed(ONE, ONE + HOUR), {"fixed": {"start": "2026-03-01T01:00:00Z", "end": "2026-03-01T02:00:00Z"}}),
    ],
)
def test_a_window_is_told_as_the_policy_has_it(window: Window, told: object) -> None:
    assert window_json(window) == told


def test_a_month_is_told_with_what_is_next_in_it() -> None:
    told = user_status(at_eleven(MONTHLY), [], 1)
    assert told["summary"] == (
        "memory: 20 of 40 GiB-hours each Month (Europe/Berlin), used up from 2026-03-01T21:00:00Z if all keeps running"
    )
    assert told["quotas"][0]["blocked"] == [
        {"from": "2026-03-01T21:00:00Z", "until": "2026-03-31T22:00:00Z"},
        {"from": "2026-04-01T18:00:00Z", "until": "2026-04-30T22:00:00Z"},
    ]


def test_credits_tell_what_things_cost() -> None:
    [quota] = user_status(at_eleven(CREDITS), [], 1)["quotas"]
    assert (quota["used"], quota["perHour"]) == ("5", "0.5")
    assert quota["weights"] == [{"resource": "memory", "perHour": "0.25"}]


def test_what_is_not_known_is_not_told_as_nothing() -> None:
    unknown = user_status(at_eleven(STORAGE), [], 1)
    assert unknown["summary"] == "storage: not known of 10 GiB"
    assert "used" not in unknown["quotas"][0]
    assert user_status(at_eleven(STORAGE, storage=GIB), [], 1)["summary"] == "storage: 1 of 10 GiB"


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
    status = json.dumps({"status": user_status(at_eleven(*ALL), running, 1)})
    UserQuotaStatus.model_validate(json.loads(status)["status"])
    patched = api.kubectl("patch", "uq", "alice", "-n", namespace, "--subresource=status", "--type=merge", "-p", status)
    assert (patched.returncode, patched.stderr) == (0, "")
    kept = json.loads(api.kubectl("get", "uq", "alice", "-n", namespace, "-o", "json").stdout)["status"]
    assert kept == json.loads(status)["status"]
