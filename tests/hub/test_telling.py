"""Decisions are told as Events of the documented form, off the launch's path; of too many the oldest are dropped."""

import asyncio
import json
import logging
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from tornado.web import HTTPError

import hubquota_hook as hook
from tests.hub.api_server import FakeApi, Json, gate, known, spawner, used_up
from tests.testbed.control_plane import ControlPlane
from tests.testbed.manifests import give_rights
from tests.testbed.patience import holds
from tests.testbed.rest import Rest

LOG = logging.getLogger("hub")
LAUNCH = hook.Launch("alice", "gpu", "large", {"memory": 8 << 30, "nvidia.com/gpu": 1000}, "lab")
QUOTA = {"name": "weekly", "policies": ["weekly"], "resource": "memory", "limit": "40", "used": "41.5"}
QUOTA |= {"unit": "GiB-hours", "enforcement": "Deny"}


@pytest.fixture
def fake(fake_api: FakeApi) -> FakeApi:
    return fake_api


def told(event: Json) -> Json:
    found: Json = json.loads(event["metadata"]["annotations"]["hubquota.dev/decision"])
    return found


async def decision_on_the_pod(starting: Any) -> str:  # noqa: ANN401
    marks = (await starting.modify_pod_hook(starting, {}))["metadata"]["annotations"]
    return str(marks["hubquota.dev/decision"])


async def test_a_refusal_a_warning_and_a_shadow_refusal_are_told_each_as_one(fake: FakeApi) -> None:
    warned = used_up(fake, name="soft", enforcement="Warn")
    shadow = used_up(fake, name="trial", enforcement="Observe")
    fake.policies = [{"metadata": {"name": "weekly", "uid": "u-1", "generation": 1}, "spec": {}}]
    fake.quotas["alice"] = known("alice", warned, shadow)
    starting = spawner()
    await gate().pre_spawn(starting)
    await holds(lambda: len(fake.events) == 2)
    assert [told(event)["kind"] for event in fake.events] == ["warned", "observed"]
    assert await decision_on_the_pod(starting) == told(fake.events[0])["id"]
    assert "reason" not in told(fake.events[1])
    fake.quotas["alice"] = known("alice", used_up(fake), shadow)
    with pytest.raises(HTTPError) as refused:
        await gate().pre_spawn(spawner())
    await holds(lambda: len(fake.events) == 4)
    said = told(fake.events[2])
    assert (said["kind"], said["reason"]) == ("refused", refused.value.jupyterhub_message)
    [quota] = said["quotas"]
    until = quota.pop("exhaustedUntil")
    assert until.replace("T", " ").replace("Z", " UTC") in said["reason"]
    assert quota == {"policy": "weekly", "uid": "u-1", "resource": "memory", "limit": "40", "used": "41.5"} | {
        "unit": "GiB-hours"
    }
    assert said["request"] == {"memory": 2**30, "servers": 1000}
    assert len({told(event)["id"] for event in fake.events}) == 4


@pytest.mark.parametrize("status", [503, 403, 401])
async def test_a_failure_is_told_when_the_api_server_is_back_or_the_right_is_there(
    fake: FakeApi, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(hook, "_FIRST_PAUSE", 0.01)

    async def unwell(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text="{}")

    fake.failing, starting = unwell, spawner()
    await gate().pre_spawn(starting)
    with pytest.raises(HTTPError):
        await gate(failover_open=False).pre_spawn(spawner())
    fake.failing = None
    await holds(lambda: len(fake.events) == 2)
    ids = {told(event)["kind"]: told(event)["id"] for event in fake.events}
    assert ids.keys() == {"failed-open", "failed-closed"}
    assert await decision_on_the_pod(starting) == ids["failed-open"]


async def test_no_launch_waits_for_an_event(fake: FakeApi) -> None:
    fake.quotas["alice"] = known("alice", used_up(fake, enforcement="Warn"))
    free = asyncio.Event()

    async def slow(request: web.BaseRequest) -> None:
        if "/events" in request.path:
            await free.wait()

    fake.failing = slow
    hub = gate()
    for _ in range(20):
        await hub.pre_spawn(spawner())
    assert fake.events == []
    free.set()
    await holds(lambda: len(fake.events) == 20)


async def test_of_more_than_can_wait_the_oldest_are_dropped_and_counted() -> None:
    metrics, sent, free = hook.Metrics(CollectorRegistry()), [], asyncio.Event()

    async def send(event: Json) -> None:
        await free.wait()
        sent.append(event["n"])

    teller = hook.Teller(send, LOG, metrics, most=3)
    for n in range(10):
        teller.tell({"n": n})
    free.set()
    await holds(lambda: len(sent) == 3)
    assert sent == [7, 8, 9]
    assert metrics.dropped._value.get() == 7


async def test_an_event_that_is_not_taken_is_dropped_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    metrics = hook.Metrics(CollectorRegistry())

    async def send(_: Json) -> None:
        raise hook.Unanswered("the API server answers with 422", "rejected")

    teller = hook.Teller(send, LOG, metrics)
    for _ in range(5):
        teller.tell({})
    await holds(lambda: metrics.dropped._value.get() == 5)
    assert caplog.text.count("cannot be told of decisions: the API server answers with 422") == 1


texts = st.text(max_size=300) | st.just("😀" * 5000) | st.just("\x01" * 5000) | st.just("\ud800\0")


@given(texts.filter(bool).map(lambda t: t[:255]), texts, st.dictionaries(texts, st.integers(-5, 2**70), max_size=50))
def test_whatever_the_words_it_is_of_the_form_and_fits(user: str, text: str, request_: dict[str, int]) -> None:
    launch = hook.Launch(user, text[:30], text, request_, text)
    quotas = [QUOTA | {"name": f"{n:03}" + "q" * 250, "used": text[:5]} for n in range(60)]
    event = hook.decision_event(hook.Decision("refused", launch, quotas, datetime.now(UTC), text), "hub", {})
    annotation = event["metadata"]["annotations"]["hubquota.dev/decision"]
    assert len(annotation.encode()) <= 16_384
    assert 0 < len(event["message"].encode()) <= 1024
    said = told(event)
    assert len(said.get("request", {})) <= 32
    assert len(said.get("quotas", [])) <= 32
    assert len(said.get("reason", "")) <= 4096
    assert max(len(said.get(name, "")) for name in ("server", "profile", "group")) <= 255
    assert all(0 <= amount < 2**63 for amount in said["request"].values())
    assert "\0" not in json.dumps(said, ensure_ascii=False)


@pytest.mark.cluster
@pytest.mark.parametrize("kind", ["refused", "warned", "observed", "failed-open", "failed-closed"])
async def test_a_real_api_takes_each_kind_with_the_hub_s_rights(api: ControlPlane, namespace: str, kind: str) -> None:
    give_rights(api, namespace)
    api.kubectl("create", "serviceaccount", "hub", "-n", namespace)
    event = hook.decision_event(hook.Decision(kind, LAUNCH, [QUOTA], reason="x" * 3000), namespace, {"weekly": "u"})
    async with Rest(api.kubeconfig_for(namespace, "hub")) as hub:
        kept = await hub.call("POST", f"/api/v1/namespaces/{namespace}/events", event)
    assert kept["reportingComponent"] == "hubquota-hook"
    assert re.fullmatch(r"Launch(Refused|Warned|Observed|FailedOpen|FailedClosed)", kept["reason"])
