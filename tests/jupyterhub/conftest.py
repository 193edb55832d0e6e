"""Hubs that pretend, and what an operator is told of them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hubquota.settings import Settings
from tests.jupyterhub.fake_hub import FakeHub, serving


@pytest.fixture
async def make_hub() -> AsyncIterator[Callable[[], Awaitable[FakeHub]]]:
    """Makes hubs that pretend."""
    async with AsyncExitStack() as hubs:

        async def make() -> FakeHub:
            return await hubs.enter_async_context(serving())

        yield make


@pytest.fixture
async def fake(make_hub: Callable[[], Awaitable[FakeHub]]) -> FakeHub:
    """One such hub."""
    return await make_hub()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The file with a service's token."""
    file = tmp_path / "token"
    file.write_text("hunter2\n")
    return file


@pytest.fixture
def settings(fake: FakeHub, token: Path) -> Settings:
    """What an operator is told of it."""
    return Settings(hub_api_url=fake.url, hub_api_token_file=str(token))
