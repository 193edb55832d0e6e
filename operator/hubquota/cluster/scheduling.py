"""When which object is written: at once where something happened, later where something will, never too often."""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

logger = logging.getLogger(__name__)

#: Kind and name of an object to write.
Key = tuple[str, str]
#: Writes one object; returns the seconds until it should be written again by itself, None: not by itself.
Write = Callable[[Key], Awaitable[float | None]]

#: Seconds between two writes of one object: "no more than a few a second".
SPACING: Final = 0.3
#: Seconds until a failed write is tried again: flat and short, so that an outage's end is noticed soon.
RETRY: Final = 2.0
#: Writes in flight: more do not make one API server faster.
_SLOTS: Final = 8


class Scheduler:
    """Writes objects when they are due; several requests for one object become one write."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._written: dict[Key, float] = {}
        self._busy: dict[Key, float] = {}
        self._woken = asyncio.Event()
        self._slots = asyncio.Semaphore(_SLOTS)
        self._trickle: deque[Key] = deque()

    def request(self, key: Key, delay: float = 0, *, spaced: bool = True) -> None:
        """Have an object written in ``delay`` seconds, or sooner if it is due sooner anyway.

        One that is not ``spaced`` does not wait because it has just been written.
        """
        now = asyncio.get_running_loop().time()
        earliest = self._written.get(key, now - SPACING) + SPACING if spaced else now
        when = max(now + delay, earliest)
        if self._due.get(key, when + 1) > when:
            self._due[key] = when
            heapq.heappush(self._heap, (when, key))
            self._woken.set()

    def trickle(self, keys: Iterable[Key]) -> None:
        """Have many objects written when nothing else is due: what happens meanwhile does not wait for them."""
        self._trickle.extend(keys)
        self._woken.set()

    def forget(self, key: Key) -> None:
        """An object that is gone is not written any more."""
        self._due.pop(key, None)
        self._written.pop(key, None)

    def lag(self) -> float:
        """Seconds by which the oldest write is late; 0: all that was due is written. What is being written is due."""
        now = asyncio.get_running_loop().time()
        oldest = min((*self._due.values(), *self._busy.values()), default=now)
        return max(0, now - oldest)

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._slots.acquire()
                key = await self._next()
                self._busy[key] = asyncio.get_running_loop().time()
                group.create_task(self._do(key))

    async def _next(self) -> Key:
        while True:
            self._woken.clear()
            wait = self._until_first()
            if wait is not None and wait <= 0:
                _, key = heapq.heappop(self._heap)
                del self._due[key]
                return key
            if self._trickle:
                one_of_many = self._next_of_many()
                if one_of_many is not None:
                    return one_of_many
                continue
            try:
                async with asyncio.timeout(wait):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _next_of_many(self) -> Key | None:
        """The next that nobody asked for otherwise; one that is being written is written again after."""
        key = self._trickle.popleft()
        if key in self._busy:
            self.request(key)
            return None
        self._due.pop(key, None)
        return key

    def _until_first(self) -> float | None:
        """Seconds until the first that is due and not being written; None: nothing is."""
        while self._heap:
            when, key = self._heap[0]
            if self._due.get(key) == when and key not in self._busy:
                return when - asyncio.get_running_loop().time()
            heapq.heappop(self._heap)  # asked for sooner since, or taken up again when its write is done
        return None

    async def _do(self, key: Key) -> None:
        try:
            again = await self._write(key)
        except Exception as fault:  # one object's fault must not stop the others
            logger.warning("%s %s is not written, again in %s s: %s", *key, RETRY, fault)
            again = RETRY
        finally:
            del self._busy[key]
            self._slots.release()
        self._written[key] = asyncio.get_running_loop().time()
        asked = self._due.pop(key, None)
        if asked is not None:
            self.request(key, max(0, asked - self._written[key]))
        if again is not None:
            self.request(key, again)
