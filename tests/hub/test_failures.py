"""Whatever fails, a launch goes on or is refused as failover_open says, with one line that says what to mend."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from tornado.web import HTTPError

import hubquota_hook as hook
from tests.hub.api_server import FakeApi, Json, answering, count, cut, hanging, known, spawner, used_up
from tests.hub.api_server import impatient_gate as gate
from tests.testbed.patience import holds


@pytest.fixture
def api(fake_api: FakeApi) -> FakeApi:
    fake_api.quotas["alice"] = known()
    return fake_api


def old(api: FakeApi) -> None:
    api.beat = api.now - timedelta(minutes=6)


def ahead(api: FakeApi) -> None:
    api.beat = api.now + timedelta(hours=1)


def silent(api: FakeApi) -> None:
    api.beat = None


def failing(failure: Any) -> Any:  # noqa: ANN401
    return lambda api: setattr(api, "failing", failure)


def broken(change: Json) -> Any:  # noqa: ANN401
    return lambda api: api.quotas.update(alice=known("alice", used_up(api)) | change)


def missing_field(api: FakeApi) -> None:
    quota = used_up(api)
    del quota["resource"]
    api.quotas["alice"] = known("alice", quota)


def new_user(api: FakeApi) -> None:
    api.quotas.clear()
    pool = {"scope": {"everyone": True}, "sharing": "Shared", "limit": {"value": 1, "unit": "GiB-hours"}}
    api.policies = [{"metadata": {"name": "pool", "generation": 1}, "spec": pool}]


def somebody_else_s(api: FakeApi) -> None:
    api.quotas["alice"] = known("alice") | {"spec": {"user": "bob", "groups": []}}


def passed_over(api: FakeApi) -> None:
    api.quotas["alice"] = known("alice") | {"status": {"decision": "Ignored", "summary": "ignored: write it anew"}}


def full(api: FakeApi) -> None:
    api.quotas.clear()
    api.notes["hubquota.dev/at-cap"] = "2"


FAILURES = {
    "operator never there": (silent, "heartbeat", "is not there: see whether hubquota's operator runs"),
    "operator stopped for long": (old, "heartbeat", "360 s old: see whether hubquota's operator runs, and whether its"),
    "clock skew": (ahead, "clock", "ahead of the API server's clock: set the clocks"),
    "hanging": (failing(hanging), "timeout", "has not answered within 0.3 s: see whether it is overloaded"),
    "refusing": (failing(cut), "unreachable", "cannot be reached (ServerDisconnectedError"),
    "forbidden": (failing(answering(403)), "forbidden", "may not read /apis/.*: apply hubquota's Role for the hub"),
    "no CRDs": (failing(answering(404)), "crds", "quotapolicies is not there: apply hubquota's CRDs"),
    "no page": (failing(answering(404, "404 page not found\n")), "crds", "quotapolicies is not there: apply"),
    "unwell": (failing(answering(503)), "unavailable", "with 503"),
    "a proxy's page": (failing(answering(200, "<html>")), "unreachable", "and no JSON: see what stands between"),
    "a list": (failing(answering(200, "[]")), "malformed", "see whether hook, operator and CRDs are of one version"),
    "no spec": (broken({"spec": None}), "malformed", "UserQuota alice, or a QuotaPolicy, cannot be read"),
    "no resource": (missing_field, "malformed", "KeyError: 'resource'"),
    "somebody else's": (somebody_else_s, "foreign", "UserQuota alice is not of 'alice', though its name says so"),
    "passed over": (passed_over, "ignored", "UserQuota alice is ignored: write it anew"),
    "at the cap": (full, "cap", "the hub is at its cap of 2 UserQuotas, so this user gets none: delete the UserQuotas"),
    "first launch unanswered": (new_user, "unanswered", "the operator has not answered for 'alice' in 0.3 s"),
}


@pytest.mark.parametrize("name", FAILURES)
@pytest.mark.parametrize("is_open", [True, False])
async def test_each_failure_leads_to_what_the_admin_said_and_one_line(
    api: FakeApi, caplog: pytest.LogCaptureFixture, name: str, is_open: bool
) -> None:
    arrange, cause, words = FAILURES[name]
    arrange(api)
    result = "failed_open" if is_open else "failed_closed"
    before = count(result, cause=cause)
    hub = gate(failover_open=is_open, timeout=0.3 if name == "hanging" else 20.0)
    if is_open:
        await hub.pre_spawn(spawner())
    else:
        with pytest.raises(HTTPError) as refused:
            await hub.pre_spawn(spawner())
        assert refused.value.status_code == 424
        assert refused.value.reason == "compute-quota-failed"
        assert "Please try again in a minute" in refused.value.jupyterhub_message
        assert refused.value.headers == {"Retry-After": "60"}
    lines = [r.getMessage() for r in caplog.records if "without an answer" in r.getMessage()]
    assert len(lines) == 1
    assert ("goes on" if is_open else "is refused") in lines[0]
    head, _, tail = words.partition(".*")
    assert head in lines[0]
    assert tail in lines[0]
    assert count(result, cause=cause) == before + 1


async def test_a_launch_that_goes_on_though_not_even_its_profile_is_known_tells_on_its_pod_who_is_charged(
    api: FakeApi,
) -> None:
    async def theirs() -> None:
        raise RuntimeError

    before = count("failed_open", cause="internal")
    starting = spawner("alice", "staff", "all", load_user_options=theirs)
    await gate().pre_spawn(starting)
    assert count("failed_open", cause="internal") == before + 1
    marks = (await starting.modify_pod_hook(starting, {}))["metadata"]["annotations"]
    assert json.loads(marks.pop("hubquota.dev/groups")) == ["all", "staff"]
    await holds(lambda: len(api.events) == 1)
    told = json.loads(api.events[0]["metadata"]["annotations"]["hubquota.dev/decision"])
    assert (told["kind"], marks.pop("hubquota.dev/decision")) == ("failed-open", told["id"])
    assert marks == {
        "hubquota.dev/hub": "hub",
        "hubquota.dev/component": "notebook",
        "hubquota.dev/component-name": "jupyter-alice",
        "hubquota.dev/instance-type": "",
    }


def faulty(*_: object) -> None:
    raise RuntimeError("a\nb")


#: What the log says of it, after which of the hook's functions has it.
OF_FAULTY = (
    f"RuntimeError: a b, in {Path(__file__).name} line {faulty.__code__.co_firstlineno + 1}: mend that where it is"
)


TEAM = {"team": "staff"}


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize("where", ["judge", "requested"])
async def test_a_fault_of_the_hook_s_own_is_one_line_that_says_where_and_the_pod_is_marked_all_the_same(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str, is_open: bool
) -> None:
    monkeypatch.setattr(hook, where, faulty)
    result, starting = "failed_open" if is_open else "failed_closed", spawner("alice", "staff", user_options=TEAM)
    before = count(result, cause="internal")
    launch = gate(failover_open=is_open, launch_group="team").pre_spawn(starting)
    [told] = await asyncio.gather(launch, return_exceptions=True)
    assert getattr(told, "reason", told) == (None if is_open else "compute-quota-failed")
    assert count(result, cause="internal") == before + 1
    [line] = [record.getMessage() for record in caplog.records if "without an answer" in record.getMessage()]
    assert OF_FAULTY in line
    assert line.endswith("the hub's configuration, or report it where it is the hook")
    assert "\n" not in line
    if is_open:
        marks = (await starting.modify_pod_hook(starting, {}))["metadata"]["annotations"]
        assert json.loads(marks["hubquota.dev/groups"]) == ["staff"]
        assert marks.get("hubquota.dev/group") == (
            None if where == "requested" else "staff"
        )  # by then it was not known


async def test_a_fault_in_marking_the_pod_ends_no_launch(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hook, "_annotations", faulty)
    await gate().pre_spawn(spawner("alice", "staff"))
    assert f"the pod of 'alice' gets no annotations: {OF_FAULTY}" in caplog.text


async def test_a_second_launch_does_not_slip_past_while_the_operator_is_asked_about_the_first(api: FakeApi) -> None:
    new_user(api)
    hub = gate(first_launch_timeout=20, failover_open=False)
    first = asyncio.ensure_future(hub.pre_spawn(spawner()))
    await holds(lambda: "alice" in api.quotas)
    second = asyncio.ensure_future(hub.pre_spawn(spawner(name="second")))
    asked = api.asked
    await holds(lambda: api.asked > asked + 5)
    assert not first.done()
    assert not second.done()
    api.quotas["alice"]["status"] = known("alice", used_up(api))["status"]
    told = await asyncio.gather(first, second, return_exceptions=True)
    assert [getattr(refused, "reason", refused) for refused in told] == ["compute-quota-exceeded"] * 2


async def test_a_launch_right_after_groups_have_changed_waits_for_the_answer_to_the_change(api: FakeApi) -> None:
    told = known("alice", groups=("staff",))
    told["metadata"]["generation"] = 2
    api.quotas["alice"] = told
    launch = asyncio.ensure_future(gate(first_launch_timeout=20).pre_spawn(spawner("alice", "staff")))
    asked = api.asked
    await holds(lambda: api.asked > asked + 5)
    assert not launch.done()
    told["status"] = known("alice", used_up(api))["status"] | {"observedGeneration": 2}
    with pytest.raises(HTTPError):
        await launch


@pytest.mark.parametrize("is_open", [True, False])
async def test_one_of_whom_the_operator_never_spoke_is_not_taken_for_one_who_may_launch(
    api: FakeApi, is_open: bool
) -> None:
    new_user(api)
    api.quotas["alice"] = known() | {"status": {}}
    before = count("failed_open", cause="unanswered")
    launch = gate(failover_open=is_open).pre_spawn(spawner())
    [told] = await asyncio.gather(launch, return_exceptions=True)
    assert getattr(told, "status_code", None) == (None if is_open else 424)
    assert count("failed_open", cause="unanswered") == before + is_open


def test_a_second_copy_of_the_file_counts_in_the_same_metrics() -> None:
    assert hook.Metrics(REGISTRY).allowed is hook.Metrics(REGISTRY).allowed
