"""A decision as a whole has a deadline, whatever it asks for and whoever asks beside it; what is in time counts."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from tornado.web import HTTPError

import hubquota_hook as hook
from tests.hub.api_server import FakeApi, Passing, count, hanging, known, slow, spawner, used_up
from tests.testbed.patience import holds

OWN = "GET /apis/hubquota.dev/v1alpha1/namespaces/hub/userquotas/"
POOL = {
    "metadata": {"name": "pool", "generation": 1},
    "spec": {"scope": {"everyone": True}, "sharing": "Shared", "limit": {"value": 1, "unit": "GiB-hours"}},
}
#: Seconds that a decision may take, and each call of it; and most of that.
TIMEOUT, MOST = 20.0, 14.0


@pytest.fixture
def api(fake_api: FakeApi) -> FakeApi:
    return fake_api


@pytest.fixture
async def passing(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Passing:
    return Passing(monkeypatch)


def gate(**traits: Any) -> hook.Gate:  # noqa: ANN401
    return hook.Gate(hook.HubQuota(**{"timeout": TIMEOUT, "failover_open": False} | traits), None)


async def reason(launch: "asyncio.Task[None]") -> str | None:
    """Why a launch is refused; None: it goes on."""
    [told] = await asyncio.gather(launch, return_exceptions=True)
    assert told is None or isinstance(told, HTTPError)
    return getattr(told, "reason", None)


def begun(hub: hook.Gate, user: str = "alice") -> "asyncio.Task[None]":
    return asyncio.ensure_future(hub.pre_spawn(spawner(user)))


@pytest.mark.parametrize(("seconds", "cause"), [(MOST / 4, None), (MOST, "timeout")])
async def test_calls_that_are_each_in_time_may_be_too_late_together(
    api: FakeApi, passing: Passing, seconds: float, cause: str | None
) -> None:
    """A first launch asks for its user's own, and then for the policies."""

    async def late(request: web.BaseRequest) -> None:
        if request.method == "GET" and "/leases/" not in request.path:
            await passing(seconds)

    api.failing, before = late, count("failed_closed", cause="timeout")
    assert await reason(begun(gate())) == (None if cause is None else "compute-quota-failed")
    assert count("failed_closed", cause="timeout") == before + (cause is not None)


async def test_many_at_once_whom_the_api_server_does_not_answer_wait_no_longer_than_one(
    api: FakeApi, passing: Passing
) -> None:
    """Few calls are under way at a time, so most of them have not even asked by then."""
    api.failing, hub = hanging, gate()
    launches = [begun(hub, f"u{n}") for n in range(64)]
    await holds(lambda: api.asked_for(OWN) == hook._IN_FLIGHT)
    await passing(TIMEOUT + 1)
    ended, waiting = await asyncio.wait(launches, timeout=TIMEOUT - 5)
    assert not waiting
    assert {await reason(launch) for launch in ended} == {"compute-quota-failed"}


@pytest.mark.parametrize(
    ("first_launch_timeout", "told"), [(3600.0, "compute-quota-exceeded"), (5.0, "compute-quota-failed")]
)
async def test_telling_of_a_user_may_take_as_long_as_both_times_together(
    api: FakeApi, passing: Passing, first_launch_timeout: float, told: str
) -> None:
    api.policies = [POOL]

    async def late(request: web.BaseRequest) -> web.Response | None:
        """Somebody else has made the UserQuota in this instant, so it is changed."""
        if request.method not in ("POST", "PATCH") or "/events" in request.path:
            return None
        await passing(MOST)
        return web.Response(status=409, text="{}") if request.method == "POST" else None

    api.failing, before = late, count("failed_closed", cause="timeout")
    launch = begun(gate(first_launch_timeout=first_launch_timeout))
    await holds(lambda: "alice" in api.quotas or launch.done())
    if "alice" in api.quotas:
        api.answer("alice", known("alice", used_up(api))["status"])
    assert await reason(launch) == told
    assert count("failed_closed", cause="timeout") == before + (told == "compute-quota-failed")


@pytest.mark.parametrize("is_used_up", [True, False])
async def test_by_an_api_server_that_is_slow_but_in_time_launches_are_judged_as_ever(
    api: FakeApi, is_used_up: bool
) -> None:
    api.quotas["alice"] = known("alice", *([used_up(api)] if is_used_up else []))
    api.failing = slow(0.2)
    assert await reason(begun(gate())) == ("compute-quota-exceeded" if is_used_up else None)


async def test_an_api_server_that_answers_too_late_has_not_answered(api: FakeApi) -> None:
    api.quotas["alice"], api.failing = known(), slow(2)
    before = count("failed_closed", cause="timeout")
    assert await reason(begun(gate(timeout=0.3))) == "compute-quota-failed"
    assert count("failed_closed", cause="timeout") == before + 1
