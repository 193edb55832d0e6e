"""How tests wait for what comes sooner or later: they look again and again, up to one long bound."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

#: Seconds. Only what fails takes so long; a crowded machine is slow, not wrong.
PATIENCE: Final = 180.0


def until(check: Callable[[], bool], words: Callable[[], str] = str) -> None:
    """Wait until something holds. ``words``: what to show where it does not."""
    deadline = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < deadline, words()
        time.sleep(0.05)


async def holds(check: Callable[[], bool]) -> None:
    """Wait until something holds, while the loop goes on. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        while not check():
            await asyncio.sleep(0.01)
