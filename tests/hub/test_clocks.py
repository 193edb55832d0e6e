"""Ages and instants are the API server's, whatever the hub's own clock shows."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

import hubquota_hook as hook
from tests.hub.api_server import FakeApi, count, known, serving, spawner, used_up
from tests.testbed.patience import holds


@pytest.fixture(params=[-400, -1 / 4, 1 / 4, 400], ids=lambda days: f"{days:+} d")
async def api(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    """An API server whose clock is so far ahead of the hub's."""
    made = FakeApi()
    made.now += timedelta(days=request.param)
    made.beat = made.now
    made.quotas["alice"] = known()
    async with serving(made, monkeypatch):
        yield made


def gate() -> hook.Gate:
    return hook.Gate(hook.HubQuota(timeout=20.0, failover_open=False), None)


def is_now(api: FakeApi, told: str) -> bool:
    """Whether it is told by the API server's clock, which stands still meanwhile."""
    return abs(datetime.fromisoformat(told) - api.now) < timedelta(hours=1)


async def test_launches_are_judged_however_far_the_clocks_are_apart(api: FakeApi) -> None:
    before = count("allowed")
    await gate().pre_spawn(spawner())
    assert count("allowed") == before + 1


async def test_when_groups_were_observed_is_told_by_the_api_server_s_clock(api: FakeApi) -> None:
    hub = gate()
    await hub.pre_spawn(spawner("new", "staff"))
    await holds(lambda: "new" in api.quotas)
    assert is_now(api, api.quotas["new"]["spec"]["groupsObservedAt"])


async def test_when_a_decision_was_made_is_told_by_the_api_server_s_clock(api: FakeApi) -> None:
    api.quotas["alice"] = known("alice", used_up(api, enforcement="Warn"))
    await gate().pre_spawn(spawner())
    await holds(lambda: len(api.events) == 1)
    [event] = api.events
    assert is_now(api, event["eventTime"])
    assert is_now(api, json.loads(event["metadata"]["annotations"]["hubquota.dev/decision"])["at"])
