"""A hub that only pretends: its API's pages of users, and whatever else a test has it answer."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]
Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class FakeHub:
    """``users`` in pages of ``most``, as JupyterHub tells them. ``answer``: what is answered instead."""

    users: list[Json] = field(default_factory=list)
    most: int = 200
    answer: Answer | None = None
    url: str = ""
    asked: list[web.BaseRequest] = field(default_factory=list)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(request)
        return await self.answer(request) if self.answer else self.page(request)

    def page(self, request: web.BaseRequest) -> web.Response:
        """The page that is asked for; a hub's own address in it is not ours to follow."""
        limit, offset = min(int(request.query["limit"]), self.most), int(request.query["offset"])
        items, after = self.users[offset : offset + limit], offset + limit
        more = {"offset": after, "limit": limit, "url": "http://elsewhere.example/users"}
        paged = {"offset": offset, "limit": limit, "total": len(self.users)}
        return web.json_response(
            {"items": items, "_pagination": paged | {"next": more if after < len(self.users) else None}}
        )

    def has(self, **groups: list[str] | None) -> None:
        """These users too, in these groups; None: not any more."""
        self.users = [user for user in self.users if user["name"] not in groups]
        self.users += [{"name": name, "kind": "user", "groups": of} for name, of in groups.items() if of is not None]


def saying(status: int, body: str = "", **headers: str) -> Answer:
    """Always the same."""

    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text=body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer


async def hanging(_: web.BaseRequest) -> web.Response:
    """No answer while anybody waits."""
    await asyncio.sleep(600)
    return web.Response()


@asynccontextmanager
async def serving() -> AsyncIterator[FakeHub]:
    """One on the loopback interface, for as long as this lasts."""
    hub = FakeHub()
    runner = web.ServerRunner(web.Server(hub), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hub/api"
        yield hub
    finally:
        await runner.cleanup()


@contextmanager
def beside() -> Iterator[FakeHub]:
    """One that answers beside a test that waits."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def entered(stack: AsyncExitStack) -> FakeHub:
        return await stack.enter_async_context(serving())

    stack = AsyncExitStack()
    try:
        yield asyncio.run_coroutine_threadsafe(entered(stack), loop).result(20)
    finally:
        asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
