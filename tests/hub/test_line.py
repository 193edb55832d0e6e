"""What a launch costs: what it asks for and waits for, how old what all share may be, and how many begin at once."""

import asyncio
import json
import logging
import threading
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from kubernetes_asyncio.client import ApiClient, Configuration
from prometheus_client import REGISTRY
from tornado.web import HTTPError

import hubquota_hook as hook
from tests.hub.api_server import FakeApi, Json, known, spawner, used_up
from tests.hub.api_server import strict_gate as gate
from tests.testbed.patience import holds

OWN, BEAT, POLICIES = "GET /apis/hubquota.dev/v1alpha1/namespaces/hub/userquotas/", "/leases/", "/quotapolicies"
POOL = {
    "metadata": {"name": "pool", "generation": 1},
    "spec": {"scope": {"everyone": True}, "sharing": "Shared", "limit": {"value": 1, "unit": "GiB-hours"}},
    "status": {
        "pool": {"name": "pool", "policies": ["pool"], "resource": "memory", "window": {"rolling": "1d"}}
        | {"limit": "1", "used": "0", "unit": "GiB-hours", "enforcement": "Deny"}
    },
}


#: All ages that these tests are about are so many times as long: a machine that stands still makes nothing older.
LONG = 1000


@pytest.fixture(autouse=True)
def _long_ages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_AGAIN_SECONDS", "_POLICIES_SECONDS", "_HEARTBEAT_SECONDS"):
        monkeypatch.setattr(hook, name, LONG * getattr(hook, name))


@pytest.fixture
def api(fake_api: FakeApi) -> FakeApi:
    fake_api.quotas["alice"] = known()
    return fake_api


def aged(shelf: hook.Shelf[Any], seconds: float) -> None:
    """What is there was read so much earlier, in the hook's own seconds."""
    assert shelf._found is not None
    shelf._found = (shelf._found[0], shelf._found[1] - LONG * seconds)


def holding(*parts: str) -> tuple[Any, asyncio.Event]:
    """A failure: calls whose path holds one of these are not answered until the event is set."""
    free = asyncio.Event()

    async def hold(request: web.BaseRequest) -> None:
        if any(part in request.path for part in parts):
            await free.wait()

    return hold, free


def in_a_pool(user: str = "alice") -> Json:
    made = known(user)
    made["status"]["pools"] = ["pool"]
    return made


# --- What a launch asks for ---


async def test_a_launch_asks_for_its_user_s_own_and_all_of_them_once_for_the_heartbeat(api: FakeApi) -> None:
    for n in range(20):
        api.quotas[f"u{n}"] = known(f"u{n}")
    hub = gate()
    await asyncio.gather(*(hub.pre_spawn(spawner(f"u{n}")) for n in range(20)))
    assert (api.asked_for(OWN), api.asked_for(BEAT), api.asked) == (20, 1, 21)


async def test_only_a_launch_on_which_policies_bear_asks_for_them(api: FakeApi) -> None:
    api.policies = [POOL]
    api.quotas |= {"bob": in_a_pool("bob"), "carol": known("carol", used_up(api, enforcement="Warn"))}
    for user, asks in (("alice", 0), ("bob", 1), ("carol", 1)):
        before = api.asked_for(POLICIES)
        await gate().pre_spawn(spawner(user))
        assert api.asked_for(POLICIES) - before == asks


async def test_a_pool_that_is_used_up_refuses_the_first_launch_that_a_hub_sees(api: FakeApi) -> None:
    api.policies = [POOL | {"status": {"pool": used_up(api)}}]
    api.quotas["alice"] = in_a_pool()
    with pytest.raises(HTTPError) as refused:
        await gate().pre_spawn(spawner())
    assert refused.value.reason == "compute-quota-exceeded"


async def test_of_too_many_groups_the_first_launch_that_a_hub_sees_keeps_those_that_policies_name(api: FakeApi) -> None:
    names = [f"g{n:03}" for n in range(300)]
    api.policies = [{"metadata": {"name": "p", "generation": 1}, "spec": {"scope": {"groups": ["g299"]}}}]
    api.quotas["alice"] = known("alice", groups=(*names[:255], "g299"))
    before = api.asked_for("PATCH")
    await gate().pre_spawn(spawner("alice", *names))
    assert api.asked_for("PATCH") == before


# --- How old what all share may be ---


async def test_at_steady_load_no_launch_waits_for_policies_or_the_heartbeat(api: FakeApi) -> None:
    api.policies, api.quotas["alice"] = [POOL], in_a_pool()
    hub = gate()
    await hub.pre_spawn(spawner())
    reader = hub._reader_for(spawner())
    api.failing, free = holding("quotapolicies", "leases")
    aged(reader.policies, 1.5)
    aged(reader.beat, 25)
    await hub.pre_spawn(spawner())
    await holds(lambda: (api.asked_for(POLICIES), api.asked_for(BEAT)) == (2, 2))
    free.set()
    await holds(lambda: reader.policies._reading is None)


@pytest.mark.parametrize(("part", "seconds"), [("quotapolicies", 2.5), ("leases", 31)])
async def test_what_is_too_old_a_launch_waits_for(api: FakeApi, part: str, seconds: float) -> None:
    api.policies, api.quotas["alice"] = [POOL], in_a_pool()
    hub = gate()
    await hub.pre_spawn(spawner())
    reader = hub._reader_for(spawner())
    aged(reader.policies if part == "quotapolicies" else reader.beat, seconds)
    api.failing, free = holding(part)
    launch = asyncio.ensure_future(hub.pre_spawn(spawner()))
    await holds(lambda: api.asked_for(part) == 2)
    await holds(lambda: api.asked_for(OWN) == 2)
    for _ in range(3):
        await reader.user_quota("alice")  # by when it has its own answer too
    assert not launch.done()
    free.set()
    await launch


async def test_a_launch_is_judged_by_the_heartbeat_s_age_at_this_launch_and_not_when_it_was_read(api: FakeApi) -> None:
    hub = gate(max_staleness=60)
    await hub.pre_spawn(spawner())
    api.now += timedelta(seconds=61)
    with pytest.raises(HTTPError) as refused:
        await hub.pre_spawn(spawner())
    assert refused.value.reason == "compute-quota-failed"


async def test_a_heartbeat_that_looks_too_old_may_have_been_renewed_since_it_was_read(api: FakeApi) -> None:
    hub = gate(max_staleness=5)
    await hub.pre_spawn(spawner())
    aged(hub._reader_for(spawner()).beat, 10)
    api.now += timedelta(seconds=10)
    api.beat = api.now
    await hub.pre_spawn(spawner())
    assert api.asked_for(BEAT) == 2


async def test_a_user_without_a_user_quota_is_judged_by_a_heartbeat_of_the_last_second(api: FakeApi) -> None:
    hub = gate()
    await hub.pre_spawn(spawner())
    aged(hub._reader_for(spawner()).beat, 5)
    api.notes["hubquota.dev/at-cap"] = "2"
    api.failing, free = holding("leases")
    launch = asyncio.ensure_future(hub.pre_spawn(spawner("new")))
    await holds(lambda: api.asked_for(POLICIES) == 1)
    for _ in range(3):
        await hub._reader_for(spawner()).user_quota("alice")  # by when it has its other answers
    free.set()
    with pytest.raises(HTTPError) as refused:
        await launch
    assert refused.value.reason == "compute-quota-failed"


async def test_one_reading_is_under_way_and_all_who_wait_share_it() -> None:
    free, began = asyncio.Event(), 0

    async def read() -> int:
        nonlocal began
        began += 1
        await free.wait()
        return began

    shelf = hook.Shelf(read)
    waiting = [asyncio.ensure_future(shelf.within(2 * LONG)) for _ in range(50)]
    await holds(lambda: began == 1)
    free.set()
    assert await asyncio.gather(*waiting) == [1] * 50
    assert await shelf.within(2 * LONG) == began == 1


async def test_a_reading_that_fails_behind_a_launch_fails_nobody_and_is_tried_by_the_next() -> None:
    told: list[Any] = [1, ValueError("away"), 3]

    async def read() -> int:
        found = told.pop(0)
        if isinstance(found, Exception):
            raise found
        return int(found)

    shelf = hook.Shelf(read)
    assert await shelf.within(2 * LONG) == 1
    aged(shelf, 1.5)
    assert await shelf.within(2 * LONG) == 1
    await holds(lambda: shelf._reading is None)
    assert await shelf.within(2 * LONG) == 1
    await holds(lambda: not told)
    assert await shelf.within(1 * LONG) == 3


async def test_who_joins_a_reading_that_then_fails_tries_once_more_and_who_began_it_does_not() -> None:
    free, began = asyncio.Event(), 0

    async def read() -> int:
        nonlocal began
        began += 1
        if began == 1:
            await free.wait()
            raise ValueError("away")
        return began

    shelf = hook.Shelf(read)
    first = asyncio.ensure_future(shelf.within(2 * LONG))
    await holds(lambda: began == 1)
    shelf._began -= 1  # it has been under way for a while
    second = asyncio.ensure_future(shelf.within(0.5))
    await asyncio.sleep(0)
    free.set()
    told = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(told[0], ValueError)
    assert told[1] == 2


# --- Telling of users, behind their launches ---


async def test_a_first_launch_that_nothing_could_refuse_does_not_wait_for_the_telling(api: FakeApi) -> None:
    hub, before = gate(), untold()

    async def hold(request: web.BaseRequest) -> None:
        if request.method == "POST":
            await free.wait()

    free = asyncio.Event()
    api.failing = hold
    await hub.pre_spawn(spawner("new", "staff"))
    await holds(lambda: api.asked_for("POST") == 1)
    assert "new" not in api.quotas
    free.set()
    await holds(lambda: "new" in api.quotas)
    assert api.quotas["new"]["spec"]["groups"] == ["staff"]
    assert untold() == before  # nor did the launch wait until that was given up


async def test_users_that_cannot_be_told_of_are_counted_and_said_once(
    api: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    async def forbidden(request: web.BaseRequest) -> web.Response | None:
        return web.Response(status=403, text="{}") if request.method == "POST" else None

    api.failing, before = forbidden, untold()
    hub = gate()
    for n in range(5):
        await hub.pre_spawn(spawner(f"new{n}"))
    await holds(lambda: untold() == before + 5)
    assert caplog.text.count("the operator cannot be told of a user, whose launch went on: the hub's service acc") == 1


def kubespawner_s() -> Any:  # noqa: ANN401 - the client's types are not known
    return vars(hook)["shared_client"]("CustomObjectsApi").api_client


def untold() -> float:
    return REGISTRY.get_sample_value("hubquota_hook_users_untold_total") or 0


async def test_of_more_users_than_can_wait_the_oldest_are_left_out_and_counted() -> None:
    free, told = asyncio.Event(), list[str]()

    async def declare(user: str, *_: object) -> tuple[Json, None]:
        await free.wait()
        told.append(user)
        return {}, None

    before = untold()
    herald: Any = hook.Herald(SimpleNamespace(declare=declare), None, hook.Metrics(REGISTRY), most=5)  # type: ignore[arg-type]
    for n in range(hook._TOLD_AT_ONCE):
        herald.tell(f"first{n}", [], None)
        await asyncio.sleep(0)
    waiting = [herald.tell(f"u{n}", [], None) for n in range(10)]
    assert [await waiting[n] for n in range(5)] == [None] * 5
    free.set()
    await asyncio.gather(*waiting)
    assert set(told) == {*(f"first{n}" for n in range(hook._TOLD_AT_ONCE)), *(f"u{n}" for n in range(5, 10))}
    assert untold() == before + 5


async def test_one_of_whom_it_would_be_told_too_late_is_left_out_and_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(hook, "_TOLD_SECONDS", -1.0)

    async def declare(*_: object) -> None:
        raise AssertionError("too late")

    before, log = untold(), logging.getLogger("hub")
    herald = hook.Herald(SimpleNamespace(declare=declare), log, hook.Metrics(REGISTRY))  # type: ignore[arg-type]
    assert await herald.tell("new", [], None) is None
    assert untold() == before + 1
    assert "has not answered within" in caplog.text


# --- Many at once ---


async def test_launches_begin_in_their_order_so_many_in_a_turn_of_the_loop() -> None:
    turns, began, now = hook.Turns(), list[tuple[int, int]](), 0

    async def ticking() -> None:
        nonlocal now
        while True:
            now += 1
            await asyncio.sleep(0)

    async def launch(number: int) -> None:
        await turns.mine()
        began.append((now, number))

    clock = asyncio.create_task(ticking())
    await asyncio.gather(*(launch(n) for n in range(100)))
    clock.cancel()
    assert [number for _, number in began] == list(range(100))
    at = [turn for turn, _ in began]
    assert max(at.count(turn) for turn in at) <= 8


async def test_one_who_gives_up_in_the_line_takes_nobody_s_place_and_the_loop_rests_at_the_end() -> None:
    turns, began = hook.Turns(2), list[int]()

    async def launch(number: int) -> None:
        await turns.mine()
        began.append(number)

    tasks = [asyncio.create_task(launch(n)) for n in range(6)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    seen = list[int]()
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        seen.append(len(began))
    assert began == [0, 1, 3, 4, 5]
    assert 3 not in seen  # two and two at a time, then the last
    assert 4 in seen
    await holds(lambda: not turns._turning)
    await launch(9)
    assert began[-1] == 9


async def test_the_api_server_has_few_reads_of_launches_at_a_time(api: FakeApi) -> None:
    api.quotas |= {f"u{n}": known(f"u{n}") for n in range(60)}
    api.failing, free = holding("userquotas")
    hub = gate()
    launches = asyncio.gather(*(hub.pre_spawn(spawner(f"u{n}")) for n in range(60)))
    await holds(lambda: api.asked_for(OWN) == 8)
    for _ in range(3):
        await hub._reader_for(spawner())._beat()  # others would have come by then
    assert api.asked_for(OWN) == 8
    free.set()
    await launches
    assert api.asked_for(OWN) == 60


# --- KubeSpawner's client ---


async def test_calls_use_its_connections_and_no_thread_looks_for_a_proxy_at_each(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gate().pre_spawn(spawner())
    client = kubespawner_s()
    [ours] = [ours for theirs, ours in hook._STRAIGHT.items() if theirs is client.rest_client.pool_manager]
    assert ours.connector is client.rest_client.pool_manager.connector

    async def never(*_: object) -> None:
        raise AssertionError("by the client itself")

    monkeypatch.setattr(client, "call_api", never)
    before = set(threading.enumerate())
    for _ in range(20):
        await gate().pre_spawn(spawner())
    assert set(threading.enumerate()) <= before


async def test_a_token_that_is_renewed_is_used_from_the_next_call_on(api: FakeApi) -> None:
    client, sent, number = kubespawner_s(), set[str](), 0

    def renewed(configuration: Configuration) -> None:
        nonlocal number
        number += 1
        configuration.api_key["BearerToken"] = f"Bearer {number}"

    async def look(request: web.BaseRequest) -> None:
        sent.add(request.headers["Authorization"])

    client.configuration.api_key["BearerToken"] = "Bearer 0"
    client.configuration.refresh_api_key_hook = renewed
    api.failing = look
    for _ in range(3):
        await gate().pre_spawn(spawner())
    assert len(sent) == 6
    assert "Bearer 0" not in sent


@pytest.mark.parametrize("how", ["another session", "a proxy", "a proxy of the environment", "a TLS name"])
async def test_where_the_client_is_made_otherwise_it_is_asked_its_own_way(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    client, asked = kubespawner_s(), 0
    own = ApiClient(Configuration(host=client.configuration.host))

    async def call_api(*args: Any, **named: Any) -> Any:  # noqa: ANN401
        nonlocal asked
        asked += 1
        return await own.call_api(*args, **named)

    rest = client.rest_client
    if how == "another session":
        other = SimpleNamespace(api_client=SimpleNamespace(call_api=call_api))
        monkeypatch.setattr(hook, "shared_client", lambda _: other)
    elif how == "a proxy":
        monkeypatch.setattr(rest, "proxy", "http://127.0.0.1:9")
    elif how == "a TLS name":
        monkeypatch.setattr(rest, "server_hostname", "kubernetes")
    else:
        monkeypatch.setattr(hook, "getproxies", lambda: {"http": "http://127.0.0.1:9"})
        monkeypatch.setattr(hook, "proxy_bypass", lambda _: False)
    monkeypatch.setattr(client, "call_api", call_api)
    await gate().pre_spawn(spawner())
    await own.close()
    assert asked == 2


async def test_a_session_of_ours_keeps_nothing_open_that_the_client_has_closed() -> None:
    client = ApiClient(Configuration(host="http://127.0.0.1:9"))
    ours = hook._straight(client)
    assert isinstance(ours, aiohttp.ClientSession)
    assert hook._straight(client) is ours
    await client.close()
    assert ours.closed


# --- Big answers ---


async def test_a_long_list_is_read_as_it_is_and_the_loop_goes_on_meanwhile() -> None:
    told: Json = {"apiVersion": "hubquota.dev/v1alpha1", "items": [{"n": n, "]": "],é" * 900} for n in range(200)]}
    told |= {"kind": "QuotaPolicyList", "metadata": {"resourceVersion": "7"}}
    text, turns = json.dumps(told, separators=(",", ":"), ensure_ascii=False), 0

    async def ticking() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    clock = asyncio.create_task(ticking())
    found = await hook._parsed(text)
    clock.cancel()
    assert found == told
    assert turns >= 5


@pytest.mark.parametrize("spaces", [(", ", ": "), (",", ":")])
async def test_a_list_that_is_written_otherwise_or_cut_off_is_read_or_refused_as_a_whole(
    spaces: tuple[str, str],
) -> None:
    told = {"apiVersion": "hubquota.dev/v1alpha1", "items": [{"n": "x" * 900}] * 100}
    text = json.dumps(told, separators=spaces)
    assert await hook._parsed(text) == told
    with pytest.raises(ValueError, match="line 1"):
        await hook._parsed(text[:-2])
