"""A hub tells all its users' groups, page by page; what is wrong is said, and nobody is told the token."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hubquota_hook as hook
from hubquota.jupyterhub import HubApi, HubApiError, client
from hubquota.resources.groups import kept_groups
from hubquota.resources.user_quota import UserQuotaSpec
from hubquota.settings import Settings
from tests.jupyterhub.fake_hub import FakeHub, hanging, saying


def rewrite(file: Path, text: str | None) -> None:
    """Have a file hold another text; None: be gone."""
    file.unlink()
    if text is not None:
        file.write_text(text)


async def listed(settings: Settings, meanwhile: Callable[[], object] = bool) -> dict[str, tuple[str, ...]]:
    """All users. ``meanwhile``: what happens whenever one page is read and the next one is not asked for yet."""

    async def pause(_: float) -> None:
        meanwhile()

    async with HubApi(settings, "hub", pause) as api:
        return await api.groups()


def once(*happens: Callable[[], object]) -> Callable[[], object]:
    """Each of them once, in their order; nothing after that."""
    left = iter(happens)
    return lambda: next(left, bool)()


def offsets(fake: FakeHub) -> list[int]:
    """Where the pages began that the hub was asked for."""
    return [int(request.query["offset"]) for request in fake.asked]


async def test_all_users_are_read_however_few_the_hub_gives_at_a_time(fake: FakeHub, settings: Settings) -> None:
    fake.has(**{f"user{n}": ["students"] if n % 2 else [] for n in range(230)})
    fake.most = 30
    told = await listed(settings)
    assert told == {f"user{n}": ("students",) if n % 2 else () for n in range(230)}
    assert offsets(fake) == list(range(0, 230, 29))  # each page begins with the last user of the one before
    assert {request.headers["Accept"] for request in fake.asked} == {"application/jupyterhub-pagination+json"}
    assert {request.headers["Authorization"] for request in fake.asked} == {"token hunter2"}


async def test_a_hub_without_users_has_none(fake: FakeHub, settings: Settings) -> None:
    assert await listed(settings) == {}
    assert len(fake.asked) == 1


GONE = [
    pytest.param({"user5": None}, id="one who was read"),
    pytest.param({"user5": None, "new": []}, id="one who was read, and another came"),
    pytest.param({"user29": None, "new": []}, id="the last one who was read, and another came"),
    pytest.param({"user30": None, "new": []}, id="the next one, and another came"),
    pytest.param({"user5": None, "user40": None, "new": [], "newer": []}, id="one on either side, and two came"),
    pytest.param({f"user{n}": None for n in range(60)}, id="so many that the next page is none"),
    pytest.param({"user29": ["back"]}, id="nobody: one who was read is made anew"),
]


@pytest.mark.parametrize("change", GONE)
async def test_who_is_deleted_between_two_pages_takes_nobody_else_off_the_list(
    fake: FakeHub, settings: Settings, change: dict[str, list[str] | None]
) -> None:
    fake.has(**{f"user{n}": ["students"] for n in range(70)})
    fake.most = 30
    told = await listed(settings, once(lambda: fake.has(**change)))
    assert {user["name"] for user in fake.users} <= told.keys()


async def test_where_a_page_holds_one_user_who_is_deleted_takes_nobody_else_off_the_list(
    fake: FakeHub, settings: Settings
) -> None:
    fake.has(**{f"user{n}": ["students"] for n in range(4)})
    fake.most = 1
    told = await listed(settings, once(bool, lambda: fake.has(user0=None)))
    assert told == {f"user{n}": ("students",) for n in range(1, 4)}


async def test_who_comes_between_two_pages_is_listed_without_beginning_anew(fake: FakeHub, settings: Settings) -> None:
    fake.has(**{f"user{n}": [] for n in range(70)})
    fake.most = 30
    told = await listed(settings, once(lambda: fake.has(new=["staff"]), lambda: fake.has(newer=[])))
    assert told["new"] == ("staff",)
    assert len(told) == 72
    assert offsets(fake) == [0, 29, 58]


async def test_a_hub_whose_users_are_deleted_all_the_time_is_not_listed(fake: FakeHub, settings: Settings) -> None:
    fake.has(**{f"user{n}": [] for n in range(70)})
    fake.most = 30

    def one_less() -> None:
        fake.users.pop(0)

    with pytest.raises(HubApiError, match="missing from the hub's list 3 times in a row: see what deletes users"):
        await listed(settings, one_less)
    assert offsets(fake) == [0, 29] * 3


async def test_a_hub_that_tells_fewer_users_than_it_says_it_has_is_not_listed(
    fake: FakeHub, settings: Settings
) -> None:
    fake.answer = saying(200, '{"items": [{"name": "alice", "groups": []}], "_pagination": {"total": 2, "next": null}}')
    with pytest.raises(HubApiError, match="missing from the hub's list"):
        await listed(settings)
    assert len(fake.asked) == 3


async def test_a_token_that_was_renewed_is_sent_from_then_on(fake: FakeHub, settings: Settings, token: Path) -> None:
    fake.most, fake.users = 1, [{"name": "alice", "groups": []}, {"name": "bob", "groups": []}]

    async def renew(_: float) -> None:
        rewrite(token, "second")

    async with HubApi(settings, "hub", renew) as api:
        await api.groups()
    assert [request.headers["Authorization"] for request in fake.asked] == ["token hunter2", "token second"]


async def test_a_redirect_is_not_followed_and_what_it_leads_to_gets_no_token(
    make_hub: Callable[[], Awaitable[FakeHub]], token: Path
) -> None:
    first, second = await make_hub(), await make_hub()
    first.answer = saying(302, location=f"{second.url}/login?next=x")
    with pytest.raises(HubApiError, match=f"sends us on to {second.url}/login, which is not followed"):
        await listed(Settings(hub_api_url=first.url, hub_api_token_file=str(token)))
    assert (len(first.asked), second.asked) == (1, [])


NO_END = '{"items": [], "_pagination": {"total": 1, "next": {"offset": 0}}}'
ALICE_ALONE = '{"items": [{"name": "alice"}], "_pagination": {"total": 1}}'


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (401, "", r"does not let us in \(status 401\).*list:users and read:users:groups"),
        (403, "", r"does not let us in \(status 403\).*hub_api_token_file"),
        (404, "<html>", "answers with 404: .* whether hub_api_url ends in /hub/api"),
        (500, "", "answers with 500: see its log"),
        (200, "<html>", "is no page of JupyterHub's users"),
        (200, '[{"name": "alice", "groups": []}]', "is no page of JupyterHub's users"),
        (200, '{"items": [{"name": 7}], "_pagination": {"total": 1}}', "is no page of JupyterHub's users"),
        (200, '{"items": [], "_pagination": {}}', "is no page of JupyterHub's users"),
        (200, ALICE_ALONE, "tells no user's groups: .* read:users:groups"),
        (200, NO_END, "do not go on"),
    ],
)
async def test_what_is_wrong_is_said_with_what_to_do(
    fake: FakeHub, settings: Settings, status: int, body: str, told: str
) -> None:
    fake.answer = saying(status, body)
    with pytest.raises(HubApiError, match=told):
        await listed(settings)


async def test_users_whose_groups_the_token_may_not_know_are_left_out(fake: FakeHub, settings: Settings) -> None:
    fake.users = [{"name": "alice", "groups": ["a"]}, {"name": "bob"}]
    assert await listed(settings) == {"alice": ("a",)}


async def test_a_hub_that_is_away_or_hangs_or_tells_too_much_is_given_up(
    fake: FakeHub, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = Settings(hub_api_url=fake.url, hub_api_token_file=str(token), hub_api_timeout=1)
    fake.answer = hanging
    with pytest.raises(HubApiError, match="did not answer within 1 s"):
        await listed(given_up)
    away = given_up.model_copy(update={"hub_api_url": "http://127.0.0.1:1/hub/api"})
    with pytest.raises(HubApiError, match="cannot be reached"):
        await listed(away)
    fake.answer = None
    fake.has(alice=["x" * 200] * 100)
    monkeypatch.setattr(client, "_MOST_BYTES", 10_000)
    with pytest.raises(HubApiError, match="larger than"):
        await listed(given_up.model_copy(update={"hub_api_timeout": 60}))


async def test_pages_without_end_and_users_without_number_are_given_up(
    fake: FakeHub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def for_ever(request: web.BaseRequest) -> web.Response:
        offset = int(request.query["offset"])
        user = {"name": f"user{offset}", "groups": []}
        return web.json_response(
            {"items": [user], "_pagination": {"total": offset + 2, "next": {"offset": offset + 1}}}
        )

    fake.answer = for_ever
    monkeypatch.setattr(client, "_MOST_PAGES", 5)
    with pytest.raises(HubApiError, match="do not end"):
        await listed(settings)
    monkeypatch.setattr(client, "MOST_USERS", 3)
    with pytest.raises(HubApiError, match="more than 3 users"):
        await listed(settings)


async def test_the_token_is_in_no_error_though_an_answer_repeats_it(fake: FakeHub, settings: Settings) -> None:
    fake.answer = saying(302, location=f"{fake.url}/hunter2")
    with pytest.raises(HubApiError) as caught:
        await listed(settings)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in f"{settings!r}{settings.printed()}"


@pytest.mark.parametrize(("text", "told"), [(None, "FileNotFoundError"), ("", "is empty"), ("ü", "no single line")])
async def test_a_token_file_that_holds_none_is_named(
    settings: Settings, token: Path, text: str | None, told: str
) -> None:
    rewrite(token, text)
    with pytest.raises(HubApiError, match=f"hub_api_token_file: {token} .*{told}"):
        await listed(settings)


names = st.sampled_from([f"g{n:03}" for n in range(400)]) | st.text(max_size=300) | st.just("😀" * 250)
many = st.integers(0, 400).map(lambda most: {f"g{n:03}" for n in range(most)})


@settings(deadline=None)
@given(many, st.sets(names, max_size=20), st.sets(names, max_size=20))
@example({f"g{n:03}" for n in range(400)}, set(), {"g399"})
@example({f"{n:03}" + "😀" * 252 for n in range(300)}, set(), {"299" + "😀" * 252})
def test_of_a_user_s_groups_operator_and_hook_tell_the_same(groups: set[str], more: set[str], named: set[str]) -> None:
    groups = groups | more
    kept = kept_groups(groups, named)
    assert list(kept) == asyncio.run(hook.kept_groups(sorted(groups, reverse=True), frozenset(named)))
    UserQuotaSpec.model_validate({"user": "a", "groups": list(kept)})


@pytest.mark.parametrize("name", ["a" * 256, "a\0b", ""])
def test_a_group_that_no_policy_can_hold_is_told_by_neither(name: str) -> None:
    assert kept_groups([name, "a"], {name}) == ("a",)
