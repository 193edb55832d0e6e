"""What an admin has configured goes on as before, and nothing that a user sends is believed or breaks anything."""

import asyncio
import copy
import importlib.metadata
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kubespawner import KubeSpawner
from tornado.web import HTTPError
from traitlets.config import Config

import hubquota_hook as hook
from tests.hub.api_server import FakeApi, Json, gate, known, real_spawner, serving, spawner, used_up


@pytest.fixture
def api(fake_api: FakeApi) -> FakeApi:
    fake_api.quotas["alice"] = known()
    return fake_api


class Between(KubeSpawner):  # type: ignore[misc]
    """An admin's own."""


class MySpawner(Between):
    """And one that is made of it."""


def hooked(c: Config) -> Any:  # noqa: ANN401
    """The hook as a spawner gets it."""
    hook.setup_hubquota(c)
    return copy.deepcopy(c).KubeSpawner.pre_spawn_hook


@pytest.mark.parametrize("where", ["Spawner", "KubeSpawner", "Between", "MySpawner"])
@pytest.mark.parametrize("later", [True, False])
async def test_a_hook_that_is_there_runs_first_wherever_it_is_configured(api: FakeApi, where: str, later: bool) -> None:
    ran = []

    def earlier(starting: Any) -> None:  # noqa: ANN401
        ran.append(starting)

    async def earlier_later(starting: Any) -> None:  # noqa: ANN401
        ran.append(starting)

    c = Config()
    c.JupyterHub.spawner_class = MySpawner
    c[where].pre_spawn_hook = earlier_later if later else earlier
    ours, starting = hooked(c), spawner()
    assert all(c[name].pre_spawn_hook is c.MySpawner.pre_spawn_hook for name in ("Spawner", "KubeSpawner", "Between"))
    await ours(starting)
    assert ran == [starting]
    assert starting.modify_pod_hook is not None


@pytest.mark.parametrize("chosen", ["mine", "Mine"])
@pytest.mark.parametrize("where", ["Spawner", "MySpawner"])
async def test_a_class_that_is_chosen_by_its_name_among_entry_points_is_hooked_too(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, chosen: str, where: str
) -> None:
    entry = importlib.metadata.EntryPoint("mine", f"{__name__}:MySpawner", "jupyterhub.spawners")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry] if group == entry.group else [])
    ran: list[Any] = []
    c = Config()
    c.JupyterHub.spawner_class = chosen
    c[where].pre_spawn_hook = ran.append
    hook.setup_hubquota(c)
    starting = spawner()
    await copy.deepcopy(c).MySpawner.pre_spawn_hook(starting)
    assert ran == [starting]
    assert starting.modify_pod_hook is not None


async def test_of_several_hooks_the_one_runs_that_would_have_run_without_us(api: FakeApi) -> None:
    ran = []
    c = Config()
    c.Spawner.pre_spawn_hook = lambda _: ran.append("general")
    c.KubeSpawner.pre_spawn_hook = lambda _: ran.append("special")
    await hooked(c)(spawner())
    assert ran == ["special"]


async def test_set_up_twice_it_asks_once_and_the_earlier_hook_runs_once(api: FakeApi) -> None:
    ran: list[int] = []
    c = Config()
    c.KubeSpawner.pre_spawn_hook = lambda _: ran.append(1)
    hook.setup_hubquota(c)
    await hooked(c)(spawner())
    assert (ran, api.asked) == ([1], 2)  # the user's own, and the heartbeat


@pytest.mark.parametrize("fault", [ValueError("theirs"), HTTPError(418, "theirs"), KeyError("%s")])
async def test_what_an_earlier_hook_raises_is_raised_unchanged(api: FakeApi, fault: Exception) -> None:
    def earlier(_: object) -> None:
        raise fault

    c = Config()
    c.KubeSpawner.pre_spawn_hook = earlier
    with pytest.raises(type(fault)) as raised:
        await hooked(c)(spawner())
    assert raised.value is fault
    assert api.asked == 0


GPU: Json = {"extra_resource_limits": {"nvidia.com/gpu": "1"}}
PROFILES: list[Json] = [
    {"display_name": "Small", "default": True},
    {"display_name": "GPU", "kubespawner_override": GPU},
]


@pytest.mark.parametrize(
    "left", [GPU, {"user_options": {"profile": "gpu"}}, {"profile_list": PROFILES[1:]}, {"profile_list": []} | GPU]
)
async def test_a_launch_is_judged_as_an_earlier_hook_has_left_it(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, left: Json
) -> None:
    api.quotas["alice"] = known("alice", used_up(api, resource="nvidia.com/gpu", unit="GPU-hours"))
    leaving: Json = {}

    def earlier(starting: Any) -> None:  # noqa: ANN401
        for name, value in leaving.items():
            setattr(starting, name, value)

    c = Config()
    c.HubQuota.update(namespace="hub", failover_open=False)
    c.KubeSpawner.update(pre_spawn_hook=earlier, profile_list=PROFILES)
    ours = hooked(c)
    await ours(real_spawner(monkeypatch, config=c))
    leaving = left
    with pytest.raises(HTTPError) as refused:
        await ours(real_spawner(monkeypatch, config=c))
    assert "40 GPU-hours of nvidia.com/gpu" in refused.value.jupyterhub_message


@pytest.mark.parametrize("name", ["{user} \"a\", 'b'", "</script><b>", "{{ 7*7 }}", "é, %s %(x)s"])
async def test_names_of_every_kind_come_onto_the_pod_as_they_are(api: FakeApi, name: str) -> None:
    def earlier(_: object, pod: Any) -> Any:  # noqa: ANN401
        pod.metadata.annotations = {"theirs": "kept"}
        return pod

    starting = spawner("alice", name, modify_pod_hook=earlier, user_options={"team": name})
    await gate(launch_group="team", primehub_annotation=True).pre_spawn(starting)
    pod = SimpleNamespace(metadata=SimpleNamespace(annotations=None))
    marks = (await starting.modify_pod_hook(starting, pod)).metadata.annotations
    assert marks["theirs"] == "kept"
    assert json.loads(marks["hubquota.dev/groups"]) == [name]
    assert marks["hubquota.dev/group"] == name
    assert marks["hubquota.dev/component-name"] == "jupyter-alice"
    assert json.loads(marks["primehub.io/usage"])["group"] == name


async def test_a_pod_that_is_a_dict_is_marked_too_and_what_is_none_is_left_alone(api: FakeApi) -> None:
    starting = spawner(modify_pod_hook=lambda _, pod: pod)
    await gate().pre_spawn(starting)
    pod: Json = {"metadata": {"annotations": {"a": "b"}}}
    marks = (await starting.modify_pod_hook(starting, pod))["metadata"]["annotations"]
    assert marks["a"] == "b"
    assert marks["hubquota.dev/hub"] == "hub"
    ours = ("hub", "groups", "component", "component-name", "instance-type")
    assert marks.keys() == {"a", *map("hubquota.dev/{}".format, ours)}  # of PrimeHub's only where an admin says so
    assert await starting.modify_pod_hook(starting, None) is None


async def test_a_profile_s_own_modify_pod_hook_runs_and_the_pod_is_marked_all_the_same(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    def theirs(_: object, pod: Any) -> Any:  # noqa: ANN401
        pod["metadata"]["annotations"]["theirs"] = "kept"
        return pod

    override = {"modify_pod_hook": lambda _: theirs, "mem_guarantee": "2G"}
    real = real_spawner(monkeypatch, profile_list=[{"display_name": "Own", "kubespawner_override": override}])
    await gate(namespace="hub").pre_spawn(real)
    await real.load_user_options()  # as KubeSpawner does when it starts
    pod: Json = {"metadata": {"annotations": {}}}
    marks = (await real.modify_pod_hook(real, pod))["metadata"]["annotations"]
    assert marks["theirs"] == "kept"
    assert marks["hubquota.dev/instance-type"] == "own"


@pytest.mark.parametrize("configured", [True, False])
async def test_a_hook_that_a_class_has_by_itself_runs_unless_another_is_configured(
    api: FakeApi, configured: bool
) -> None:
    ran = []
    c = Config()
    if configured:
        c.Spawner.pre_spawn_hook = lambda _: ran.append("configured")
    starting = spawner(trait_defaults=lambda name: lambda _: ran.append(f"{name} of the class"))
    await hooked(c)(starting)
    assert ran == (["configured"] if configured else ["pre_spawn_hook of the class"])


async def test_a_group_that_is_not_the_user_s_is_refused_in_few_words_and_escaped(api: FakeApi) -> None:
    evil = "<img src=x onerror=alert(1)>" * 1000
    for option in ("team", lambda s: s.user_options["team"]):
        starting = spawner("alice", "students", user_options={"team": evil})
        with pytest.raises(HTTPError) as refused:
            await gate(launch_group=option).pre_spawn(starting)
        assert (refused.value.status_code, refused.value.reason) == (403, "compute-quota-foreign-group")
        assert "choose one of your own groups" in refused.value.jupyterhub_message
        assert len(refused.value.jupyterhub_message) < 300
        assert "<img" not in refused.value.jupyterhub_html_message


async def test_a_profile_that_the_hub_does_not_have_is_worth_no_exception(api: FakeApi) -> None:
    api.quotas["alice"] = known("alice", used_up(api, exceptProfiles=["small"]))
    with pytest.raises(HTTPError):
        await gate().pre_spawn(spawner(user_options={"profile": "small"}))


async def test_a_user_s_own_namespace_is_not_the_hub_s(api: FakeApi) -> None:
    own: Json = {"enable_user_namespaces": True, "_namespace_default": lambda: "hub"}
    starting = spawner(**own | {"namespace": "hub-alice"})
    await gate(failover_open=False).pre_spawn(starting)


@pytest.mark.parametrize("by", ["an earlier hook", "a profile"])
async def test_whatever_sets_the_namespace_of_a_launch_it_is_judged_in_the_hub_s(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    c = Config()
    c.HubQuota.failover_open = False
    c.KubeSpawner.namespace = "hub"
    if by == "a profile":
        override = {"namespace": "elsewhere"}
        c.KubeSpawner.profile_list = [{"display_name": "Own", "kubespawner_override": override}]
    else:
        c.KubeSpawner.pre_spawn_hook = lambda starting: setattr(starting, "namespace", "elsewhere")
    ours, real = hooked(c), real_spawner(monkeypatch, config=c)
    await ours(real)
    assert real.namespace == "elsewhere"
    assert api.asked_for("/namespaces/hub/") == api.asked > 0
    assert (await real.modify_pod_hook(real, {}))["metadata"]["annotations"]["hubquota.dev/hub"] == "hub"


async def test_the_default_profile_is_the_one_that_was_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    real = real_spawner(monkeypatch, profile_list=[{"display_name": "Big"}, {"display_name": "Small", "default": True}])
    assert await hook.profile_of(real) == "small"
    real.user_options = {"profile": "big"}
    assert await hook.profile_of(real) == "big"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(anything | st.fixed_dictionaries({"team": anything, "profile": anything}))
def test_whatever_json_a_user_sends_a_launch_is_judged_or_refused(options: object) -> None:
    async def launched() -> BaseException | None:
        with pytest.MonkeyPatch.context() as patch:
            api = FakeApi()
            api.quotas["alice"] = known()
            async with serving(api, patch):
                judging = gate(launch_group="team", failover_open=False)
                starting = judging.pre_spawn(spawner("alice", user_options=options))
                [raised] = await asyncio.gather(starting, return_exceptions=True)
                return raised

    raised = asyncio.run(launched())
    assert raised is None or isinstance(raised, HTTPError), raised
    if raised is not None:
        words = {400: "is not the name of a group", 403: "not a member"}[raised.status_code]
        assert words in getattr(raised, "jupyterhub_message", ""), raised


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.parametrize("options", [{"team": nested(20_000)}, {"profile": nested(20_000)}, {"team": [[]] * 100_000}])
async def test_no_options_have_a_launch_judged_by_failover_open(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, options: Json
) -> None:
    real = real_spawner(monkeypatch, profile_list=[{"display_name": "Small"}])
    real.user_options = options
    with pytest.raises(HTTPError) as refused:
        await gate(launch_group="team", namespace="hub").pre_spawn(real)
    assert refused.value.status_code == 400
    assert len(refused.value.jupyterhub_message) < 1000
    assert api.asked == 0
