"""A pool that a user's status names decides by what the API server has of it when the launch is judged."""

import asyncio
from typing import Any

import pytest
from tornado.web import HTTPError

import hubquota_hook as hook
from tests.hub.api_server import FakeApi, Json, count, known, spawner, used_up
from tests.hub.api_server import strict_gate as gate
from tests.testbed.patience import holds


@pytest.fixture
def api(fake_api: FakeApi) -> FakeApi:
    return fake_api


def pool(name: str, state: Json | None = None) -> Json:
    """A policy; ``state``: what the operator says of it, None: nothing yet."""
    limit = {"value": 40, "unit": "GiB-hours"}
    made: Json = {"spec": {"scope": {"everyone": True}, "sharing": "Shared", "limit": limit}}
    made |= {"metadata": {"name": name, "generation": 1}}
    return made if state is None else made | {"status": {"pool": state}}


def unused(api: FakeApi) -> Json:
    return used_up(api, used="0", blocked=[])


def member(*pools: str) -> Json:
    """The UserQuota of alice, whose status names these."""
    made = known()
    made["status"]["pools"] = list(pools)
    return made


async def launched(hub: hook.Gate) -> str | None:
    """Why alice's launch is refused; None: it goes on."""
    [told] = await asyncio.gather(hub.pre_spawn(spawner()), return_exceptions=True)
    assert told is None or isinstance(told, HTTPError)
    return getattr(told, "reason", None)


def aged(hub: hook.Gate, seconds: float) -> None:
    """The policies that are known were read so much earlier."""
    shelf = hub._reader_for(spawner()).policies
    assert shelf._found is not None
    shelf._found = (shelf._found[0], shelf._found[1] - seconds)


@pytest.mark.parametrize("is_open", [True, False])
async def test_of_a_pool_of_which_the_operator_has_told_nothing_yet_there_is_no_answer(
    api: FakeApi, caplog: pytest.LogCaptureFixture, is_open: bool
) -> None:
    api.policies, api.quotas["alice"] = [pool("pool")], member("pool")
    result = "failed_open" if is_open else "failed_closed"
    before = count(result, cause="unanswered")
    assert await launched(gate(failover_open=is_open)) == (None if is_open else "compute-quota-failed")
    assert count(result, cause="unanswered") == before + 1
    assert "the operator has not told yet what is used of the pool pool: see its log" in caplog.text


async def test_a_pool_that_is_named_and_not_known_yet_is_looked_for_before_it_decides(api: FakeApi) -> None:
    api.policies, api.quotas["alice"] = [pool("old", unused(api))], member("old")
    hub = gate()
    assert await launched(hub) is None
    aged(hub, 1.5)  # not too old for pools that are known
    api.policies.append(pool("new", used_up(api)))
    api.quotas["alice"] = member("old", "new")
    assert await launched(hub) == "compute-quota-exceeded"


async def test_a_pool_that_is_named_and_not_there_refuses_nobody(api: FakeApi) -> None:
    api.policies, api.quotas["alice"] = [pool("old", unused(api))], member("old", "gone")
    hub, before = gate(), count("allowed")
    assert await launched(hub) is None
    aged(hub, 1.5)
    assert await launched(hub) is None
    assert count("allowed") == before + 2


async def first_launch(api: FakeApi, hub: hook.Gate, seconds: float, policies: list[Json], *pools: str) -> str | None:
    """A launch while whose waiting for the operator the policies become others, so many seconds after they were read.

    Then the operator answers that its user is in these pools.
    """
    launch = asyncio.ensure_future(launched(hub))
    await holds(lambda: "alice" in api.quotas)
    api.policies = policies
    aged(hub, seconds)
    api.answer("alice", member(*pools)["status"])
    return await launch


async def test_a_pool_that_was_filled_while_a_launch_waited_for_the_operator_refuses_it(api: FakeApi) -> None:
    api.policies = [pool("pool", unused(api))]
    assert await first_launch(api, gate(), 2.5, [pool("pool", used_up(api))], "pool") == "compute-quota-exceeded"


async def test_a_pool_that_was_made_while_a_launch_waited_for_the_operator_refuses_it(api: FakeApi) -> None:
    old = pool("old", unused(api))
    api.policies = [old]
    made = [old, pool("new", used_up(api))]
    assert await first_launch(api, gate(), 1.5, made, "old", "new") == "compute-quota-exceeded"


@pytest.mark.parametrize("state", [used_up, unused])
async def test_a_pool_whose_state_comes_with_the_user_s_decides(api: FakeApi, state: Any) -> None:  # noqa: ANN401
    """The operator writes both within moments, sooner than policies are too old for a launch."""
    api.policies = [pool("pool")]
    told = await first_launch(api, gate(), 0, [pool("pool", state(api))], "pool")
    assert told == ("compute-quota-exceeded" if state is used_up else None)


@pytest.mark.parametrize("state", [used_up, unused])
async def test_a_pool_whose_state_comes_after_the_user_s_is_waited_for(api: FakeApi, state: Any) -> None:  # noqa: ANN401
    api.policies = [pool("pool")]
    launch = asyncio.ensure_future(launched(gate()))
    await holds(lambda: "alice" in api.quotas)
    api.answer("alice", member("pool")["status"])
    asked = api.asked_for("/quotapolicies")
    await holds(lambda: api.asked_for("/quotapolicies") > asked + 2)
    assert not launch.done()
    api.policies = [pool("pool", state(api))]
    assert await launch == ("compute-quota-exceeded" if state is used_up else None)
