"""Launches that wait for the operator share one watch; where it fails or tells nothing, each looks for itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from types import SimpleNamespace

import pytest
from aiohttp import web
from tornado.web import HTTPError

import hubquota_hook as hook
from tests.hub.api_server import Failure, FakeApi, Json, known, serving, spawner, used_up
from tests.hub.api_server import strict_gate as gate
from tests.testbed.patience import holds

POOL = {
    "metadata": {"name": "pool", "generation": 1},
    "spec": {"scope": {"everyone": True}, "sharing": "Shared", "limit": {"value": 1, "unit": "GiB-hours"}},
}
WATCH, OWN = "watch=1", "GET /apis/hubquota.dev/v1alpha1/namespaces/hub/userquotas/"


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    """Every first launch waits for the operator."""
    made = FakeApi()
    made.watched, made.policies = True, [POOL]
    # Nobody looks for themselves beside a watch, unless a test is about it.
    monkeypatch.setattr(hook, "_DOUBT_SECONDS", 3600.0)
    async with serving(made, monkeypatch):
        yield made


def begun(hub: hook.Gate, *users: str) -> list["asyncio.Task[None]"]:
    return [asyncio.ensure_future(hub.pre_spawn(spawner(user))) for user in users]


def answer(api: FakeApi, user: str, *quotas: Json) -> None:
    api.answer(user, known(user, *quotas)["status"])


def _told(hub: hook.Gate, status: Json) -> bool:
    """Whether the watch has told of a status."""
    waiting = [one for ones in hub._answers._waiting.values() for one in ones] if hub._answers else []
    return any(one.found is not None and one.found.get("status") == status for one in waiting)


def answering_at_once(api: FakeApi, free: asyncio.Event) -> Failure:
    """The operator answers each POST at once; of that of "early" the hook hears when it is ``free``."""

    async def answered(request: web.BaseRequest) -> web.StreamResponse | None:
        if request.method != "POST" or "/events" in request.path:
            return None
        made = await api._answer(request)
        name = (await request.json())["metadata"]["name"]
        answer(api, name)
        if name == "early":
            await free.wait()
        return made

    return answered


async def test_a_class_s_first_launches_share_one_watch_which_ends_with_the_last_answer(api: FakeApi) -> None:
    users = [f"u{n:03}" for n in range(100)]
    launches = begun(gate(first_launch_timeout=3600), *users)  # the watch could last as long
    await holds(lambda: len(api.quotas) == 100)
    for user in users[1:]:
        answer(api, user)
    await asyncio.gather(*launches[1:])
    assert len(api.watches) == 1
    assert not launches[0].done()
    answer(api, users[0])
    await launches[0]
    await holds(lambda: not api.watches)
    assert api.asked_for(WATCH) == 1
    # One look before it is told of; those told of before the watch began may look once more.
    assert api.asked_for(OWN) <= 100 + 2 * hook._IN_FLIGHT


async def test_what_the_watch_tells_decides(api: FakeApi) -> None:
    launches = begun(gate(), "alice", "bob")
    await holds(lambda: len(api.quotas) == 2)
    answer(api, "alice", used_up(api))
    answer(api, "bob")
    told = await asyncio.gather(*launches, return_exceptions=True)
    assert [getattr(fault, "reason", fault) for fault in told] == ["compute-quota-exceeded", None]


async def test_a_quota_that_opened_while_a_launch_waited_does_not_refuse_it(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    [launch] = begun(gate(first_launch_timeout=3600), "alice")
    await holds(lambda: bool(api.watches))
    start, end = (f"{api.now + timedelta(seconds=s):%Y-%m-%dT%H:%M:%SZ}" for s in (-60, 60))
    plain = loop.time
    monkeypatch.setattr(loop, "time", lambda: plain() + 61)
    answer(api, "alice", used_up(api, blocked=[{"from": start, "until": end}]))
    await launch


@pytest.mark.parametrize("watched", [True, False])
async def test_an_answer_to_what_was_told_before_is_not_taken_for_the_answer(api: FakeApi, watched: bool) -> None:
    api.watched = watched
    api.quotas["alice"] = known("alice")
    [launch] = begun(gate(), "alice")
    await launch
    hub = gate()
    other = asyncio.ensure_future(hub.pre_spawn(spawner("alice", "staff")))
    await holds(lambda: api.quotas["alice"]["metadata"]["generation"] == 2)
    asked = api.asked_for(OWN)
    before = known()["status"] | {"observedGeneration": 1, "summary": "of before"}
    api.answer("alice", before)
    await holds(lambda: _told(hub, before) if watched else api.asked_for(OWN) > asked + 2)
    assert not other.done()
    api.answer("alice", known("alice", used_up(api))["status"] | {"observedGeneration": 2})
    with pytest.raises(HTTPError):
        await other


async def test_what_an_api_server_remembers_of_before_is_not_taken_for_the_answer(api: FakeApi) -> None:
    """One that answers from its cache may not know yet what another of them was told."""
    api.watched = False
    api.quotas["alice"] = known("alice")
    before, looked = json.dumps(api.quotas["alice"]), 0

    async def behind(request: web.BaseRequest) -> web.StreamResponse | None:
        nonlocal looked
        if request.method != "GET" or "/userquotas/" not in request.path:
            return None
        looked += 1
        return api._json(json.loads(before)) if looked < 4 else None

    api.failing = behind
    launch = asyncio.ensure_future(gate().pre_spawn(spawner("alice", "staff")))
    await holds(lambda: looked > 1)
    api.answer("alice", known("alice", used_up(api))["status"] | {"observedGeneration": 2})
    with pytest.raises(HTTPError):
        await launch


async def test_what_a_watch_tells_of_before_is_not_taken_for_the_answer(api: FakeApi) -> None:
    """It may have begun for somebody else, before this user was told of anew."""
    hub = gate()
    first = begun(hub, "first")
    await holds(lambda: bool(api.watches))
    api.quotas["alice"] = known("alice")
    before = api.quotas["alice"]["status"] | {"summary": "of before"}

    async def late(request: web.BaseRequest) -> web.StreamResponse | None:
        if request.method == "PATCH":
            api.answer("alice", before)
            await holds(lambda: _told(hub, before))
        return None

    api.failing = late
    launch = asyncio.ensure_future(hub.pre_spawn(spawner("alice", "staff")))
    await holds(lambda: api.quotas["alice"]["metadata"]["generation"] == 2)
    api.answer("alice", known("alice", used_up(api))["status"] | {"observedGeneration": 2})
    with pytest.raises(HTTPError):
        await launch
    answer(api, "first")
    await asyncio.gather(*first)


async def test_who_was_answered_before_the_watch_began_looks_once_and_does_not_wait(api: FakeApi) -> None:
    """The operator answers each POST at once; the watch begins after the first that comes back."""
    free = asyncio.Event()
    api.failing = answering_at_once(api, free)
    hub = gate()
    early = begun(hub, "early")
    await holds(lambda: "early" in api.quotas)
    others = begun(hub, "later", "last")
    await asyncio.gather(*others)
    free.set()
    await asyncio.gather(*early)


async def test_who_looks_beside_a_watch_is_told_no_less_than_that_began_with(api: FakeApi) -> None:
    """An API server that may answer from its cache is behind: it has not heard of anybody yet."""
    free = asyncio.Event()

    at_once = answering_at_once(api, free)

    async def behind(request: web.BaseRequest) -> web.StreamResponse | None:
        if request.method == "GET" and request.query.get("resourceVersion") == "0":
            return api._json({}, 404) if request.path.endswith(("early", "later")) else None
        return await at_once(request)

    api.failing = behind
    hub = gate()
    early = begun(hub, "early")
    await holds(lambda: "early" in api.quotas)
    await asyncio.gather(*begun(hub, "later"))  # the watch begins with it
    free.set()
    await asyncio.gather(*early)


async def test_an_answer_that_overtakes_what_was_told_is_kept_for_the_launch(api: FakeApi) -> None:
    """While a watch is under way, the operator is faster than the API server's answer to the hook."""
    hub, free = gate(), asyncio.Event()
    waiting = begun(hub, "first")
    await holds(lambda: bool(api.watches))

    async def late(request: web.BaseRequest) -> web.StreamResponse | None:
        if request.method != "POST" or "/events" in request.path:
            return None
        made = await api._answer(request)
        answer(api, "quick")
        await free.wait()
        return made

    api.failing = late
    quick = begun(hub, "quick")
    await holds(lambda: _told(hub, known("quick")["status"]))
    before = api.asked_for(OWN)
    free.set()
    await asyncio.gather(*quick)
    assert api.asked_for(OWN) == before
    answer(api, "first")
    await asyncio.gather(*waiting)


async def test_a_second_launch_of_one_who_was_answered_meanwhile_looks_for_itself(api: FakeApi) -> None:
    hub = gate()
    first, other = begun(hub, "alice", "other")
    await holds(lambda: len(api.quotas) == 2)
    held = asyncio.Event()

    async def hold(request: web.BaseRequest) -> web.StreamResponse | None:
        """It reads what is there before the answer, and has it after."""
        if request.method == "GET" and "/userquotas/alice" in request.path and not held.is_set():
            before = await api._answer(request)
            await held.wait()
            return before
        return None

    await holds(lambda: bool(api.watches))
    api.failing = hold
    second = asyncio.ensure_future(hub.pre_spawn(spawner("alice", name="second")))
    asked = api.asked_for("userquotas/alice")
    await holds(lambda: api.asked_for("userquotas/alice") > asked)
    answer(api, "alice")
    await first
    held.set()
    await second
    answer(api, "other")
    await other


@pytest.mark.parametrize("trouble", ["ended", "cut", "no JSON", "expired"])
async def test_where_the_watch_fails_each_launch_looks_for_itself(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    launches = begun(gate(), "alice", "bob")
    await holds(lambda: len(api.watches) == 1 and len(api.quotas) == 2)
    [watch] = api.watches
    if trouble == "ended":
        api.watches = []
    elif trouble == "cut":
        assert watch._req is not None
        assert watch._req.transport is not None
        watch._req.transport.close()
    else:
        error = b'{"type":"ERROR","object":{"code":410,"metadata":{},"message":"too old resource version"}}'
        await watch.write((error if trouble == "expired" else b"<html>") + b"\n")
    api.watched = False
    asked = api.asked_for(OWN)
    await holds(lambda: api.asked_for(OWN) >= asked + 4)
    api.quotas["alice"]["status"] = known("alice", used_up(api))["status"]
    api.quotas["bob"]["status"] = known("bob")["status"]
    told = await asyncio.gather(*launches, return_exceptions=True)
    assert [getattr(fault, "reason", fault) for fault in told] == ["compute-quota-exceeded", None]


@pytest.mark.parametrize("again", [False, True])
async def test_who_waits_looks_at_once_where_the_watch_ends_and_another_one_s_begins(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """What was answered between the two, neither of them tells."""
    monkeypatch.setattr(hook, "_POLL_SECONDS", 3600.0)
    hub, over = gate(), hook.Answers._over

    def replaced(answers: hook.Answers, watch: "asyncio.Task[None]") -> None:
        over(answers, watch)
        if again and answers._waiting:
            answers._begin({"metadata": {"resourceVersion": "10000"}})

    monkeypatch.setattr(hook.Answers, "_over", replaced)
    [launch] = begun(hub, "alice")
    await holds(lambda: bool(api.watches))
    api.quotas["alice"]["status"] = known("alice")["status"]
    api.watches = []
    await launch


async def test_after_a_watch_that_failed_the_next_launch_begins_another_one(api: FakeApi) -> None:
    hub = gate()
    first = begun(hub, "alice")
    await holds(lambda: bool(api.watches))
    api.watches = []
    asked = api.asked_for(OWN)
    await holds(lambda: api.asked_for(OWN) > asked)
    second = begun(hub, "bob")
    await holds(lambda: bool(api.watches))
    answer(api, "bob")
    await asyncio.gather(*second)
    assert api.asked_for(f"{OWN}bob") == 1
    answer(api, "alice")
    await asyncio.gather(*first)


@pytest.mark.parametrize("failed", [True, False])
async def test_after_a_watch_nobody_relies_on_it_also_where_no_other_can_begin(api: FakeApi, failed: bool) -> None:
    """What is told of the second has no place among the changes that a watch tells."""
    hub = gate()
    first = begun(hub, "alice")
    await holds(lambda: bool(api.watches))
    if failed:
        api.watches = []
        asked = api.asked_for(OWN)
        await holds(lambda: api.asked_for(OWN) > asked)
    answer(api, "alice")
    await asyncio.gather(*first)

    async def misplaced(request: web.BaseRequest) -> web.StreamResponse | None:
        if request.method != "POST" or "/events" in request.path:
            return None
        await api._answer(request)
        made = json.loads(json.dumps(api.quotas["bob"]))
        made["metadata"]["resourceVersion"] = "x7"
        return api._json(made)

    api.failing = misplaced
    second = begun(hub, "bob")
    await holds(lambda: "bob" in api.quotas)
    api.quotas["bob"]["status"] = known("bob")["status"]
    await asyncio.gather(*second)


async def test_a_launch_that_comes_as_the_last_one_goes_has_a_watch_of_its_own() -> None:
    begun = list[str]()

    async def changes(since: str, _: float) -> AsyncIterator[Json]:
        begun.append(since)
        await asyncio.Event().wait()
        yield {}

    answers = hook.Answers(SimpleNamespace(changes=changes), 60)  # type: ignore[arg-type]
    for user, revision in (("alice", "7"), ("bob", "8")):  # bob comes in the turn of the loop in which alice goes
        with answers.expecting(user) as one:
            answers._begin({"metadata": {"resourceVersion": revision}})
            await holds(lambda revision=revision: revision in begun)  # type: ignore[misc]
            assert (one.since, one.alone) == (int(revision), False)
    assert begun == ["7", "8"]


async def test_where_watching_is_not_allowed_each_launch_looks_for_itself(api: FakeApi) -> None:
    api.watched = False
    [launch] = begun(gate(), "alice")
    await holds(lambda: api.asked_for(OWN) > 3)
    assert not launch.done()
    api.quotas["alice"]["status"] = known("alice")["status"]
    await launch


async def test_a_watch_that_tells_nothing_any_more_is_not_relied_on(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "_DOUBT_SECONDS", 0.05)
    [launch] = begun(gate(), "alice")
    await holds(lambda: bool(api.watches))
    api.quotas["alice"]["status"] = known("alice")["status"]  # and nobody is told
    await launch
    assert api.asked_for(WATCH) == 1


async def test_one_who_is_not_answered_in_time_leaves_no_watch_behind(api: FakeApi) -> None:
    hub = gate(first_launch_timeout=0.3)
    told = await asyncio.gather(*begun(hub, "alice", "bob"), return_exceptions=True)
    assert [getattr(fault, "reason", fault) for fault in told] == ["compute-quota-failed"] * 2
    await holds(lambda: not api.watches)
    assert hub._answers is not None
    assert not hub._answers._waiting


async def test_a_page_tells_what_is_left_as_soon_as_the_operator_has_answered_behind_the_launch(api: FakeApi) -> None:
    api.policies = []
    starting = spawner("alice")
    await gate().pre_spawn(starting)
    await holds(lambda: bool(api.watches))
    message = hook._message_of(starting)
    assert not message.done()
    left = used_up(api, used="1", blocked=[], enforcement="Deny")
    answer(api, "alice", left)
    told = await asyncio.wait_for(message, 20)
    assert told is not None
    assert "39 of 40 GiB-hours left" in told["message"]
    assert api.asked_for(OWN) == 1
    await holds(lambda: not api.watches)


async def test_who_gives_up_as_news_come_asks_no_more() -> None:
    """As where the watch ends because all give up: asyncio.wait_for of Python 3.11 would go on waiting."""
    one = hook.Expected("alice", None)
    waits = asyncio.ensure_future(one.told(3600))
    await holds(lambda: bool(one.news._waiters))
    one.news.set()
    waits.cancel()
    [gave_up] = await asyncio.gather(waits, return_exceptions=True)
    assert isinstance(gave_up, asyncio.CancelledError)
