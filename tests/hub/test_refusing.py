"""A refusal is no failure of the hub's, however many there are and whatever else starts meanwhile."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from tornado.web import HTTPError
from traitlets import TraitError
from traitlets.config import Config

import hubquota_hook as hook
from tests.hub.api_server import FakeApi, gate, known, real_spawner, spawner, used_up
from tests.testbed.patience import holds

LIMIT = 5


@pytest.fixture
def api(fake_api: FakeApi) -> FakeApi:
    fake_api.quotas["alice"] = known("alice", used_up(fake_api))
    return fake_api


class Hub5:
    """As JupyterHub 5 counts launches that failed (``_track_failure_count`` in its handlers/base.py)."""

    def __init__(self) -> None:
        self.settings: dict[str, int] = {}
        self.aborted = False
        self.refused = 0
        self.stopped = asyncio.Event()

    def launch(self) -> "tuple[asyncio.Task[None], Any]":
        """A launch that is refused; the server is stopped before anything is counted."""
        starting = spawner(handler=SimpleNamespace(settings=self.settings), consecutive_failure_limit=LIMIT)
        task = starting._spawn_future = asyncio.ensure_future(self._spawn(starting))
        task.add_done_callback(lambda ended: self._count(ended, starting))
        return task, starting

    async def _spawn(self, starting: Any) -> None:  # noqa: ANN401
        try:
            await gate().pre_spawn(starting)
        finally:
            self.refused += 1
            await self.stopped.wait()

    def _count(self, ended: "asyncio.Task[None]", starting: Any) -> None:  # noqa: ANN401
        self.settings["failure_count"] = self.settings.get("failure_count", 0) + 1 if ended.exception() else 0
        limit = starting.consecutive_failure_limit
        self.aborted |= bool(limit) and self.settings["failure_count"] >= limit


async def test_a_class_that_is_refused_while_others_start_does_not_end_a_hub_of_version_5(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "SpawnException", None)
    hub = Hub5()
    launches = [hub.launch() for _ in range(4 * LIMIT)]
    await holds(lambda: hub.refused == len(launches))
    hub.settings["failure_count"] = 0  # somebody's server has started
    hub.stopped.set()
    told = await asyncio.gather(*(task for task, _ in launches), return_exceptions=True)
    await asyncio.sleep(0)
    assert {getattr(refused, "status_code", refused) for refused in told} == {403}
    assert not hub.aborted
    assert hub.settings["failure_count"] == 0
    assert {starting.consecutive_failure_limit for _, starting in launches} == {LIMIT}


async def test_a_refusal_is_neither_the_failure_that_ends_a_hub_of_version_5_nor_makes_others_forgotten(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "SpawnException", None)
    hub = Hub5()
    hub.settings["failure_count"] = LIMIT - 1
    hub.stopped.set()
    task, starting = hub.launch()
    [refused] = await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert isinstance(refused, HTTPError)
    assert not hub.aborted
    assert (hub.settings["failure_count"], starting.consecutive_failure_limit) == (LIMIT - 1, LIMIT)


@pytest.mark.parametrize("major", [5, 6])
async def test_a_launch_that_no_page_asked_for_is_refused_too(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    if major == 5:
        monkeypatch.setattr(hook, "SpawnException", None)
    with pytest.raises(HTTPError) as refused:
        await gate().pre_spawn(spawner(handler=None))
    assert refused.value.status_code == 403
    assert "Your quota is used up" in refused.value.jupyterhub_message


@pytest.mark.parametrize("is_open", [True, False])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ValueError("No such profile: <b>. Options include: small."), "No such profile: <b>. Options include: small."),
        (ValueError("x" * 10_000), "xxx"),
        (KeyError("choice"), "they are not of the form"),
        (TypeError("unhashable type: 'list'"), "they are not of the form"),
        (AttributeError("'list' object has no attribute 'get'"), "they are not of the form"),
        (TraitError("mem_limit"), "they are not of the form"),
    ],
)
async def test_options_that_cannot_be_started_are_the_user_s_to_mend_and_no_failure(
    api: FakeApi, fault: Exception, words: str, is_open: bool
) -> None:
    async def load_user_options() -> None:
        raise fault

    before = REGISTRY.get_sample_value("hubquota_hook_refused_total", {"reason": hook.UNUSABLE}) or 0
    judging = gate(failover_open=is_open)
    with pytest.raises(HTTPError) as refused:
        await judging.pre_spawn(spawner(load_user_options=load_user_options))
    assert (refused.value.status_code, refused.value.reason) == (400, "server-options-unusable")
    assert words in refused.value.jupyterhub_message
    assert refused.value.jupyterhub_message.endswith("Please choose them anew.")
    assert len(refused.value.jupyterhub_message) < 1000
    assert "<b>" not in refused.value.jupyterhub_html_message
    assert REGISTRY.get_sample_value("hubquota_hook_refused_total", {"reason": hook.UNUSABLE}) == before + 1
    assert api.asked == 0


@pytest.mark.parametrize(
    ("launch_group", "options"),
    [
        (lambda starting: starting.user_options["team"], {}),
        (lambda starting: starting.user_options["team"]["name"], {"team": "x"}),
        (lambda starting: f"team-{int(starting.user_options['team'])}", {"team": "x"}),
    ],
    ids=["KeyError", "TypeError", "ValueError"],
)
@pytest.mark.parametrize("later", [True, False])
async def test_a_callable_for_the_group_that_fails_at_the_options_has_the_user_choose_anew(
    api: FakeApi, launch_group: Callable[[Any], str], options: dict[str, str], later: bool
) -> None:
    async def awaited(starting: Any) -> str:  # noqa: ANN401
        return launch_group(starting)

    judging = gate(launch_group=awaited if later else launch_group)
    with pytest.raises(HTTPError) as refused:
        await judging.pre_spawn(spawner(user_options=options))
    assert (refused.value.status_code, refused.value.reason) == (400, "server-options-unusable")
    assert "they name no group that the server could be started for" in refused.value.jupyterhub_message
    assert api.asked == 0


def own_choice(field: str, value: object, otherwise: object) -> dict[str, Any]:
    """A profile's option with a field for a value of one's own."""
    listed = {"one": {"display_name": "One", "kubespawner_override": {field: otherwise}}}
    own = {"enabled": True, "kubespawner_override": {field: value}}
    return {"display_name": field, "unlisted_choice": own, "choices": listed}


async def started_with(monkeypatch: pytest.MonkeyPatch, **chosen: str) -> HTTPError:
    """What comes of a launch with values of one's own, for ``memory`` or ``gpus``."""
    field = "extra_resource_limits"
    options = {
        "memory": own_choice("mem_guarantee", "{value}", "1G"),
        "gpus": own_choice(field, {"nvidia.com/gpu": "{value}"}, {}),
    }
    c = Config()
    c.KubeSpawner.update(namespace="hub", profile_list=[{"display_name": "Own", "profile_options": options}])
    starting = real_spawner(monkeypatch, config=c)
    starting.user_options = {f"{name}--unlisted-choice": value for name, value in chosen.items()} | {"profile": "own"}
    with pytest.raises(HTTPError) as refused:
        await gate().pre_spawn(starting)
    found: HTTPError = refused.value
    return found


@pytest.mark.parametrize(
    "chosen",
    [
        {"memory": "1e999G"},  # KubeSpawner's OverflowError
        {"memory": "nanG"},
        {"gpus": "1e1001"},
        {"gpus": "0" * 1000 + "2"},
        {"gpus": "9" * 5000},
    ],
)
async def test_amounts_that_no_pod_could_have_are_the_user_s_to_mend(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str]
) -> None:
    refused = await started_with(monkeypatch, **chosen)
    assert (refused.status_code, refused.reason) == (400, "server-options-unusable")
    assert api.asked == 0


@pytest.mark.parametrize("amount", ["2", "0" * 31 + "2", "2." + "0" * 31, "2e000"])
async def test_an_amount_is_what_it_is_however_it_is_written(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, amount: str
) -> None:
    api.quotas["alice"] = known("alice", used_up(api, resource="nvidia.com/gpu", unit="GPU-hours"))
    assert (await started_with(monkeypatch, gpus=amount)).status_code == 403
    await holds(lambda: len(api.events) == 1)
    told = json.loads(api.events[0]["metadata"]["annotations"]["hubquota.dev/decision"])
    assert told["request"]["nvidia.com/gpu"] == 2000


async def test_what_an_admin_s_profiles_raise_for_the_hub_is_raised_unchanged(api: FakeApi) -> None:
    full = HTTPError(429, "full")

    async def load_user_options() -> None:
        raise full

    with pytest.raises(HTTPError) as raised:
        await gate().pre_spawn(spawner(load_user_options=load_user_options))
    assert raised.value is full


async def retry_after(user: str, api: FakeApi) -> int:
    api.quotas[hook.user_quota_name(user)] = known(user, used_up(api))
    with pytest.raises(HTTPError) as refused:
        await gate().pre_spawn(spawner(user))
    return int(refused.value.headers["Retry-After"])


async def test_a_class_does_not_come_back_in_one_second_and_nobody_too_early(api: FakeApi) -> None:
    told = {user: await retry_after(user, api) for user in map("student{}".format, range(40))}
    assert all(0 <= seconds - 7200 <= 60 for seconds in told.values())
    assert len(set(told.values())) > 10
    assert {user: await retry_after(user, api) for user in told} == told


async def test_who_comes_at_the_very_second_that_was_told_is_let_through(api: FakeApi) -> None:
    judging = gate()
    api.now += timedelta(seconds=7199)
    api.beat = api.now
    with pytest.raises(HTTPError):
        await judging.pre_spawn(spawner())
    api.now += timedelta(seconds=1)  # what launches share is still that of a second ago
    await judging.pre_spawn(spawner())


@pytest.mark.parametrize("where", ["own", "pool"])
@pytest.mark.parametrize(("ahead", "refused"), [(1.05, True), (61, True), (299, True), (301, False)])
async def test_what_is_used_up_as_the_operator_answers_is_used_up_whatever_its_clock_is_ahead(
    api: FakeApi, where: str, ahead: float, refused: bool
) -> None:
    """An API server tells whole seconds, so even with equal clocks an answer can be a second later than it seems."""
    at = f"{api.now + timedelta(seconds=ahead):%Y-%m-%dT%H:%M:%S.%fZ}"
    status, quota = known()["status"], used_up(api, blocked=[{"from": at}])
    if where == "pool":
        scope = {"spec": {"scope": {"everyone": True}, "sharing": "Shared"}}
        api.policies = [{"metadata": {"name": "pool"}, **scope, "status": {"asOf": at, "pool": quota}}]
        api.quotas["alice"]["status"] = status | {"pools": ["pool"]}
    else:
        api.quotas["alice"]["status"] = status | {"asOf": at, "quotas": [quota]}
    told = await asyncio.gather(gate().pre_spawn(spawner()), return_exceptions=True)
    assert [isinstance(one, HTTPError) for one in told] == [refused]
