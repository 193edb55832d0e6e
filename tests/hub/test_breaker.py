"""Nobody waits again and again for what does not come: after failures in a row one launch tries for all of them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tornado.web import HTTPError

import hubquota_hook as hook
from tests.hub.api_server import FakeApi, count, hanging, known, serving, spawner, used_up

POOL = {
    "metadata": {"name": "pool", "generation": 1},
    "spec": {"scope": {"everyone": True}, "sharing": "Shared", "limit": {"value": 1, "unit": "GiB-hours"}},
}


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    made = FakeApi()
    made.quotas["alice"] = known()
    async with serving(made, monkeypatch):
        yield made


def gate(**traits: Any) -> hook.Gate:  # noqa: ANN401
    return hook.Gate(hook.HubQuota(**{"timeout": 20.0, "first_launch_timeout": 0.3} | traits), None)


async def test_after_failures_in_a_row_nobody_waits_until_one_launch_has_tried(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    hub = gate(timeout=0.2)
    api.failing = hanging
    for _ in range(3):
        await hub.pre_spawn(spawner())
    asked = api.asked
    await asyncio.gather(*(hub.pre_spawn(spawner()) for _ in range(50)))
    assert api.asked - asked <= 3  # the telling of decisions alone goes on trying
    assert "not tried again for this launch" in caplog.text
    monkeypatch.setattr(hook, "_REST", 0.0)
    monkeypatch.setattr(hook, "_HEARTBEAT_SECONDS", 0.0)
    api.failing = None
    hub._options.timeout = hub._reader_for(spawner()).timeout = 20.0  # the machine may be slow too
    before = count("allowed")
    await asyncio.gather(*(hub.pre_spawn(spawner()) for _ in range(5)))
    assert count("allowed") == before + 1  # the one that tries; the others wait for nobody
    await asyncio.gather(*(hub.pre_spawn(spawner()) for _ in range(5)))
    assert count("allowed") == before + 6


async def test_one_who_gives_up_while_trying_leaves_it_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook, "_REST", 0.0)
    breaker, late = hook.Breaker(), hook.Unanswered("late", "timeout", waited=True)
    for _ in range(3):
        with pytest.raises(hook.Unanswered), breaker.guard():
            raise late
    with pytest.raises(asyncio.CancelledError), breaker.guard():
        raise asyncio.CancelledError
    with breaker.guard(), pytest.raises(hook.Unanswered), breaker.guard():
        raise AssertionError("a second one must not try")
    with breaker.guard(), breaker.guard():
        pass


async def test_an_operator_that_does_not_answer_new_users_still_refuses_known_ones(api: FakeApi) -> None:
    api.quotas.clear()
    api.policies = [POOL]
    hub = gate()
    for name in ("a", "b", "c", "d"):
        await hub.pre_spawn(spawner(name))
    api.quotas["alice"] = known("alice", used_up(api))
    with pytest.raises(HTTPError) as refused:
        await hub.pre_spawn(spawner())
    assert refused.value.reason == "compute-quota-exceeded"
