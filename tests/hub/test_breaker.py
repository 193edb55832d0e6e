"""Nobody waits again and again for what does not come: after failures in a row one launch tries for all of them."""

import asyncio

import pytest
from tornado.web import HTTPError

import hubquota_hook as hook
from tests.hub.api_server import Failure, FakeApi, answering, count, cut, hanging, known, spawner, used_up
from tests.hub.api_server import impatient_gate as gate
from tests.testbed.patience import holds

POOL = {
    "metadata": {"name": "pool", "generation": 1},
    "spec": {"scope": {"everyone": True}, "sharing": "Shared", "limit": {"value": 1, "unit": "GiB-hours"}},
}


@pytest.fixture
def api(fake_api: FakeApi) -> FakeApi:
    fake_api.quotas["alice"] = known()
    return fake_api


async def asked_nothing_more(hub: hook.Gate) -> None:
    """What was begun behind launches has ended."""
    beat = hub._reader_for(spawner()).beat
    await holds(lambda: beat._reading is None)


#: What takes a launch its time, and the timeout with which it is tried.
WAITED_FOR: dict[str, tuple[Failure, float]] = {
    "hanging": (hanging, 0.2),
    "unreachable": (cut, 20.0),
    "unwell": (answering(503), 20.0),
    "too busy": (answering(429), 20.0),
    "a proxy's page": (answering(200, "<html>"), 20.0),
}


@pytest.mark.parametrize("failure", WAITED_FOR)
async def test_after_failures_in_a_row_nobody_waits_until_one_launch_has_tried(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failure: str
) -> None:
    api.failing, timeout = WAITED_FOR[failure]
    hub = gate(timeout=timeout)
    for _ in range(3):
        await hub.pre_spawn(spawner())
    assert "not tried again for this launch" not in caplog.text
    await asked_nothing_more(hub)
    asked = api.asked_for("/apis/")  # the telling of decisions alone goes on trying
    await asyncio.gather(*(hub.pre_spawn(spawner()) for _ in range(50)))
    assert api.asked_for("/apis/") == asked
    assert caplog.text.count("not tried again for this launch") == 50
    monkeypatch.setattr(hook, "_REST", 0.0)
    monkeypatch.setattr(hook, "_HEARTBEAT_SECONDS", 0.0)
    api.failing = None
    hub._options.timeout = hub._reader_for(spawner()).timeout = 20.0  # the machine may be slow too
    before = count("allowed")
    await asyncio.gather(*(hub.pre_spawn(spawner()) for _ in range(5)))
    assert count("allowed") == before + 1  # the one that tries; the others wait for nobody
    await asyncio.gather(*(hub.pre_spawn(spawner()) for _ in range(5)))
    assert count("allowed") == before + 6


async def test_failures_that_are_not_in_a_row_have_nobody_given_up_on(api: FakeApi) -> None:
    hub, before = gate(), count("allowed")
    for failure in (answering(503), None, answering(503), answering(503), None):
        api.failing = failure
        await hub.pre_spawn(spawner())
        await asked_nothing_more(hub)
    assert count("allowed") == before + 2


async def test_failures_that_take_no_time_are_tried_by_each_launch(api: FakeApi) -> None:
    """What an admin mends, such as rights, holds for the very next launch."""
    hub, before = gate(), count("allowed")
    api.failing = answering(403)
    for _ in range(5):
        await hub.pre_spawn(spawner())
    api.failing = None
    await hub.pre_spawn(spawner())
    assert count("allowed") == before + 1


async def answered(api: FakeApi, hub: hook.Gate, user: str) -> str | None:
    """The reason for which a first launch is refused, whose user the operator says has used up all."""
    launch = asyncio.ensure_future(hub.pre_spawn(spawner(user)))
    await holds(lambda: user in api.quotas)
    api.answer(user, known(user, used_up(api))["status"])
    [told] = await asyncio.gather(launch, return_exceptions=True)
    return getattr(told, "reason", None)


async def test_after_first_launches_in_a_row_that_nobody_answered_the_next_one_does_not_wait(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api.policies = [POOL]
    hub, before = gate(), count("failed_open", cause="unanswered")
    for name in ("a", "b", "c"):
        await hub.pre_spawn(spawner(name))
    assert "not tried again for this launch" not in caplog.text
    hub._options.first_launch_timeout = 3600.0
    async with asyncio.timeout(60):
        await hub.pre_spawn(spawner("d"))
    [line] = [record.getMessage() for record in caplog.records if "the launch of 'd'" in record.getMessage()]
    assert "the operator has not answered for 'c' in 0.3 s" in line
    assert "not tried again for this launch" in line
    assert count("failed_open", cause="unanswered") == before + 4
    assert "d" in api.quotas  # it is told all the same, and may have its answer by the next launch
    monkeypatch.setattr(hook, "_REST", 0.0)
    assert await answered(api, hub, "e") == "compute-quota-exceeded"
    assert await answered(api, hub, "f") == "compute-quota-exceeded"


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
