"""JupyterHub's REST API: who its users are, and in which groups. It is only read, page by page, all of it bounded."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, Self

import httpx
from pydantic import BaseModel, Field, ValidationError

from hubquota.outgoing import BearerToken, asked, caller, trusted
from hubquota.resources.wording import printable
from hubquota.settings import Settings

#: Users whom a hub may have, and pages that may tell of them.
MOST_USERS: Final = 200_000
_MOST_PAGES: Final = 20_000
#: Users of one page: JupyterHub gives 200 at most.
PAGE: Final = 100
#: Readings of all users, of which one has to be whole: a user who is deleted between two pages spoils it.
_READINGS: Final = 3
#: Bytes of one page, unpacked.
_MOST_BYTES: Final = 16 * 2**20
#: Seconds between two pages: the hub makes each in the loop that all its users wait for.
_BREATH: Final = 0.05
#: Without it a hub with more users than one page holds tells the first of them alone.
_PAGINATED: Final = "application/jupyterhub-pagination+json"
_SHOWN: Final = 200


class HubApiError(Exception):
    """The hub cannot be asked, or its answer cannot be used; the message says what to do about it."""


class _User(BaseModel):
    """``groups`` None: the token may not know them."""

    name: str
    groups: list[str] | None = None


class _Next(BaseModel):
    offset: Annotated[int, Field(strict=True, ge=0)]


class _Pagination(BaseModel):
    """``total``: users of all pages, as of this one."""

    total: Annotated[int, Field(strict=True, ge=0)]
    next: _Next | None = None


class _Page(BaseModel):
    items: list[_User]
    pagination: _Pagination = Field(alias="_pagination")


class _Reading:
    """The users of the pages so far. ``overlap``: how many of the last page the next one has to begin with.

    Users come at the end, so who comes meanwhile is read; who is deleted is noticed by the user whom two pages share,
    though as many came. Where pages hold one user each it is noticed by the hub's total alone.
    """

    def __init__(self) -> None:
        self.users: dict[str, tuple[str, ...] | None] = {}
        self.overlap = 0
        self._last = ""
        self._most = 0

    def goes_on_with(self, page: _Page) -> bool:
        """Take the next page in; False: it does not begin where the last one ended."""
        if self.overlap and (not page.items or page.items[0].name != self._last):
            return False
        self.users |= {u.name: None if u.groups is None else tuple(map(sys.intern, u.groups)) for u in page.items}
        self._most = max(self._most, page.pagination.total)
        self.overlap = 1 if len(page.items) > 1 else 0
        self._last = page.items[-1].name if page.items else ""
        return True

    def is_whole(self) -> bool:
        """Whether there are as many as the hub ever said that it has."""
        return len(self.users) >= self._most


class HubApi:
    """One hub, for one reading of all its users. ``pause``: waits so many seconds, between pages."""

    def __init__(
        self, settings: Settings, namespace: str, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Raises HubApiError where the settings name no API for this hub, or a file that cannot be read."""
        where = settings.hub_api(namespace)
        if where is None:
            raise HubApiError("no API of this hub is named: write its address in hub_api_url")
        self._url, file = where
        self._timeout, self._pause = settings.hub_api_timeout, pause
        self._token = BearerToken("hub_api_token_file", file, "token", HubApiError)
        trust = trusted("hub_api_ca_file", settings.hub_api_ca_file, HubApiError)
        self._http = caller(self._token, self._timeout, trust, _PAGINATED)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def groups(self) -> dict[str, tuple[str, ...]]:
        """Every user's groups, by the user's name; users whose groups the token may not know are left out.

        Raises HubApiError; a part of the users is never taken for all.
        """
        for _ in range(_READINGS):
            reading = await self._read()
            if reading is not None:
                return _told(reading)
            await self._pause(_BREATH)
        raise HubApiError(
            f"users were missing from the hub's list {_READINGS} times in a row: see what deletes users all the time, "
            "such as a culler, and what answers at hub_api_url"
        )

    async def _read(self) -> _Reading | None:
        """All pages; None: somebody may be missing. Pages are found by how many users are before them, so one who is
        deleted moves all others up, and the first of the next page is skipped.
        """
        reading, offset = _Reading(), 0
        for _ in range(_MOST_PAGES):
            page = await self._page(offset)
            if not reading.goes_on_with(page):
                return None
            if len(reading.users) > MOST_USERS:
                raise HubApiError(f"the hub has more than {MOST_USERS} users, whom nobody can list: unset hub_api_url")
            if page.pagination.next is None:
                return reading if reading.is_whole() else None
            following = page.pagination.next.offset - reading.overlap
            if following <= offset:
                raise HubApiError("the hub's pages of users do not go on: see what answers at hub_api_url")
            offset = following
            await self._pause(_BREATH)
        raise HubApiError("the hub's pages of users do not end: see what answers at hub_api_url")

    async def _page(self, offset: int) -> _Page:
        status, text, sent_to = await self._asked(offset)
        if 300 <= status < 400:
            raise HubApiError(f"the hub sends us on to {sent_to}, which is not followed: name it in hub_api_url")
        if status in (401, 403):
            raise HubApiError(
                f"the hub does not let us in (status {status}): look at hub_api_token_file, and give its service a "
                "role with the scopes list:users and read:users:groups"
            )
        if status != 200:
            raise HubApiError(f"the hub answers with {status}: see its log, and whether hub_api_url ends in /hub/api")
        try:
            return _Page.model_validate_json(text)
        except ValidationError:
            raise HubApiError("what answers at hub_api_url is no page of JupyterHub's users") from None

    async def _asked(self, offset: int) -> tuple[int, bytes, str]:
        """The status, the answer, and where it sends us on to. We make each page's address, never the hub."""
        query = {"limit": str(PAGE), "offset": str(offset)}
        try:
            too_much = HubApiError(f"the hub's answer is larger than {_MOST_BYTES // 2**20} MiB")
            answer, text = await asked(self._http, f"{self._url}/users", query, self._timeout, _MOST_BYTES, too_much)
        except (httpx.TimeoutException, TimeoutError) as fault:
            raise HubApiError(f"the hub did not answer within {self._timeout:.0f} s") from fault
        except (httpx.HTTPError, httpx.InvalidURL) as fault:
            raise HubApiError(
                f"the hub cannot be reached: {self._shown(str(fault) or type(fault).__name__)}"
            ) from fault
        return answer.status_code, text, self._shown(answer.headers.get("location", "nowhere").split("?")[0])

    def _shown(self, text: str) -> str:
        """Words of others; they may repeat what they were sent."""
        return printable(text.replace(self._token.secret(), "***")[:_SHOWN])


def _told(reading: _Reading) -> dict[str, tuple[str, ...]]:
    found = {user: groups for user, groups in reading.users.items() if groups is not None}
    if reading.users and not found:
        raise HubApiError("the hub tells no user's groups: give our service's role the scope read:users:groups")
    return found
