"""A class presses Start at once: all read before anybody is told of; who is last in line is patient."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

import hubquota_hook as hook
from tests.hub.api_server import FakeApi, Passing, count, known, serving, spawner
from tests.testbed.patience import holds

OWN = "GET /apis/hubquota.dev/v1alpha1/namespaces/hub/userquotas/"
POST = "POST /apis/hubquota.dev/v1alpha1/namespaces/hub/userquotas"
POOL = {
    "metadata": {"name": "pool", "generation": 1},
    "spec": {"scope": {"everyone": True}, "sharing": "Shared", "limit": {"value": 1, "unit": "GiB-hours"}},
}
#: Seconds for the operator's answer.
WAIT = 20.0


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    made = FakeApi()
    made.watched = True
    # A machine that stands still does not make the operator silent; nobody looks beside the watch.
    monkeypatch.setattr(hook, "_DOUBT_SECONDS", 3600.0)
    async with serving(made, monkeypatch):
        yield made


@pytest.fixture
async def passing(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> Passing:
    return Passing(monkeypatch)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who waits for the operator's answer, or has."""
    found, plain = list[str](), hook.Answers.answer

    async def answer(answers: hook.Answers, one: hook.Expected, *rest: Any) -> Any:  # noqa: ANN401
        found.append(one.name)
        return await plain(answers, one, *rest)

    monkeypatch.setattr(hook.Answers, "answer", answer)
    return found


def begun(*users: str, wait: float = WAIT) -> list["asyncio.Task[None]"]:
    hub = hook.Gate(hook.HubQuota(timeout=wait, first_launch_timeout=wait, failover_open=False), None)
    return [asyncio.ensure_future(hub.pre_spawn(spawner(user))) for user in users]


@pytest.mark.parametrize("waits", [True, False])
async def test_all_of_a_class_have_read_before_anybody_is_told_of(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    monkeypatch.setattr(hook, "_READS_FIRST_SECONDS", 3600.0)
    api.policies = [POOL] if waits else []
    users = [f"u{n:02}" for n in range(60)]
    launches = begun(*users)
    await holds(lambda: len(api.quotas) == 60)
    for user in users if waits else ():
        api.answer(user, known(user)["status"])
    await asyncio.gather(*launches)
    reads = [place for place, line in enumerate(api.log) if line.startswith(OWN)]
    first_told = next(place for place, line in enumerate(api.log) if line.startswith(POST))
    assert sum(place < first_told for place in reads) == 60


async def test_one_whose_read_hangs_does_not_keep_others_from_being_told_of(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "_READS_FIRST_SECONDS", 0.05)
    free = asyncio.Event()

    async def hanging(request: web.BaseRequest) -> None:
        if request.path.endswith("/slow"):
            await free.wait()

    api.failing = hanging
    slow, other = begun("slow", "other")
    await other
    await holds(lambda: "other" in api.quotas)
    assert not slow.done()
    free.set()
    await slow


async def test_the_last_of_a_class_waits_longer_while_the_operator_answers_the_others(
    api: FakeApi, passing: Passing, waiting: list[str]
) -> None:
    api.policies = [POOL]
    users = [f"u{n}" for n in range(4)]
    launches = begun(*users)
    await holds(lambda: len(waiting) == 4)
    for user, launch in zip(users, launches, strict=True):
        api.answer(user, known(user)["status"])
        await launch
        await passing(WAIT - 1)


@pytest.mark.parametrize("answered", [0, 1])
async def test_but_not_for_ever_nor_where_it_answers_nobody(
    api: FakeApi, passing: Passing, waiting: list[str], answered: int
) -> None:
    api.policies, before = [POOL], count("failed_closed", cause="unanswered")
    users = ["first", "last"]
    launches = begun(*users)
    await holds(lambda: len(waiting) == 2)
    for user, launch in zip(users[:answered], launches, strict=False):
        api.answer(user, known(user)["status"])
        await launch
    await passing(WAIT + 1)
    if answered:
        assert not launches[-1].done()
        await passing(hook._PATIENCE * WAIT)
    await asyncio.wait({launches[-1]}, timeout=WAIT / 2)
    assert launches[-1].done()
    told = await asyncio.gather(*launches, return_exceptions=True)
    assert [getattr(one, "reason", None) for one in told[answered:]] == ["compute-quota-failed"] * (2 - answered)
    assert count("failed_closed", cause="unanswered") == before + 2 - answered


async def test_beside_a_watch_that_says_nothing_one_looks_seldom_and_ever_more_seldom(
    api: FakeApi, passing: Passing, waiting: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "_DOUBT_SECONDS", 100.0)
    api.policies = [POOL]
    hub = hook.Gate(hook.HubQuota(timeout=3600, first_launch_timeout=3600, failover_open=False), None)
    launch = asyncio.ensure_future(hub.pre_spawn(spawner("waits")))
    await holds(lambda: bool(waiting) and bool(api.watches))
    looks = api.asked_for(f"{OWN}waits")
    for seconds, more in ((60, 0), (60, 1), (150, 1), (60, 2)):  # it looks after 100, and 200 after that
        await passing(seconds)
        await holds(lambda more=more: api.asked_for(f"{OWN}waits") >= looks + more)  # type: ignore[misc]
        for _ in range(3):
            await hub._reader_for(spawner()).user_quota("other")  # by when it has looked
        assert api.asked_for(f"{OWN}waits") == looks + more
    api.answer("waits", known("waits")["status"])
    await launch


async def test_nobody_looks_for_themselves_beside_a_watch_that_tells_of_others(
    api: FakeApi, passing: Passing, waiting: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook, "_DOUBT_SECONDS", 100.0)
    api.policies = [POOL]
    heard, waits = begun("heard", "waits", wait=3600)
    await holds(lambda: len(waiting) == 2)
    looks = api.asked_for(OWN)
    await passing(50)
    api.answer("heard", known("heard")["status"])
    await heard
    await passing(
        180
    )  # the second look would be due: the first time of two was over with the news of its own UserQuota
    api.answer("waits", known("waits")["status"])
    await waits
    assert api.asked_for(OWN) == looks
