"""What a launch's page begins with waits for the hook to know it, however long an earlier hook takes, and no longer."""

import asyncio

import pytest

import hubquota_hook as hook
from tests.testbed.patience import PATIENCE, holds


class Launching:
    """A spawner that begins to start when a test says so; counts who looks whether it has."""

    def __init__(self, begun: bool = False) -> None:
        self.begun, self.looks = begun, 0

    @property
    def _start_future(self) -> object:
        self.looks += 1
        return self if self.begun else None


async def test_a_launch_behind_a_slow_hook_of_an_admin_s_is_waited_for_and_from_its_start_on_for_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hook, "_LOOK_SECONDS", 0.005)
    starting = Launching()
    waiting = asyncio.ensure_future(hook._message_within(starting, 0.2))  # as long as 40 looks take, or fewer
    await holds(lambda: starting.looks > 50 or waiting.done())
    assert not waiting.done()
    starting.begun, starting.looks = True, 0
    await holds(lambda: starting.looks > 100 or waiting.done())
    assert waiting.done()
    assert waiting.result() is None


@pytest.mark.parametrize("begun", [True, False])
async def test_a_message_is_told_as_soon_as_it_is_there(monkeypatch: pytest.MonkeyPatch, begun: bool) -> None:
    monkeypatch.setattr(hook, "_LOOK_SECONDS", 3600.0)
    starting = Launching(begun)
    waiting = asyncio.ensure_future(hook._message_within(starting, 3600))
    await holds(lambda: starting.looks > 0)
    hook._show(starting, "some are left", "<b>some</b> are left")
    told = await asyncio.wait_for(waiting, PATIENCE)
    assert told == {"progress": 1, "message": "some are left", "html_message": "<b>some</b> are left"}


async def test_where_there_is_nothing_to_tell_nobody_waits_for_it() -> None:
    starting = Launching(begun=True)
    hook._show(starting, "", "")
    assert await asyncio.wait_for(hook._message_within(starting, 3600), PATIENCE) is None
