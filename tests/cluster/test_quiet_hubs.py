"""A hub whose hook has nothing to tell."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from hubquota.cluster import api as calls
from hubquota.cluster import events
from hubquota.cluster.api import Api, Json
from hubquota.cluster.hub import Hub
from tests.testbed.patience import PATIENCE

pytestmark = pytest.mark.cluster


class Silent:
    """Decisions of which nothing may be heard."""

    def see(self, told: list[Json]) -> None:
        assert not list(told)

    def listed(self, uids: set[str]) -> None:
        assert not uids


class Counted(Api):
    """An API server whose watches are counted as they end."""

    def __init__(self, whole: Api) -> None:
        super().__init__(whole._transport, whole._timeout)
        self.ended = 0

    async def watch(self, *args: Any, **more: Any) -> AsyncIterator[tuple[str, Json]]:  # noqa: ANN401
        async for change in super().watch(*args, **more):
            yield change
        self.ended += 1


async def test_where_nobody_is_refused_the_watch_is_taken_up_anew_and_never_given_up_as_dead(
    server: Api, namespace: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert calls.WATCHING.sock_read is not None
    assert calls.WATCHING.sock_read > events.QUIET
    monkeypatch.setattr(events, "QUIET", 1)
    monkeypatch.setattr(calls, "WATCHING", aiohttp.ClientTimeout(sock_connect=10, sock_read=15))
    counted, hub = Counted(server), SimpleNamespace(namespace=namespace, decisions=Silent())
    following = asyncio.create_task(events.follow(counted, cast(Hub, hub)))
    async with asyncio.timeout(PATIENCE):
        while counted.ended < 3 and not caplog.messages and not following.done():
            await asyncio.sleep(0.05)
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    assert counted.ended >= 3
    assert caplog.messages == []
