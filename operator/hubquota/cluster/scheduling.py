"""When which object is written: at once where something happened, later where something will, never too often."""

import asyncio
import contextlib
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Container, Iterable
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
#: Seconds that what is written again by itself, so that it tells newer amounts, may wait for what has happened.
PATIENCE: Final = 30.0
#: Writes in flight: more do not make one API server faster.
_SLOTS: Final = 8


class _Queue:
    """Objects by when they are due, each once."""

    def __init__(self) -> None:
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []

    def put(self, key: Key, when: float) -> bool:
        """Have an object due at ``when``; whether it was not due sooner anyway."""
        if self._due.get(key, when + 1) <= when:
            return False
        self._due[key] = when
        heapq.heappush(self._heap, (when, key))
        return True

    def drop(self, key: Key) -> float | None:
        """Take an object out; returns when it was due, None: it was not."""
        return self._due.pop(key, None)

    def first(self, busy: Container[Key]) -> tuple[float, Key] | None:
        """The first that is due and not being written, and when; None: there is none."""
        while self._heap:
            when, key = self._heap[0]
            if self._due.get(key) == when and key not in busy:
                return when, key
            heapq.heappop(self._heap)  # asked for sooner since, or taken up again when its write is done
        return None

    def oldest(self, default: float) -> float:
        """When the first of all is due."""
        return min(self._due.values(), default=default)


class Scheduler:
    """Writes objects when they are due; several requests for one object become one write."""

    def __init__(self, write: Write) -> None:
        self._write = write
        #: What somebody asked for, and what is written again by itself: that waits for the others.
        self._asked, self._again = _Queue(), _Queue()
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
        if self._asked.put(key, max(now + delay, earliest)):
            self._woken.set()

    def trickle(self, keys: Iterable[Key]) -> None:
        """Have many objects written when nothing else is due: what happens meanwhile does not wait for them."""
        self._trickle.extend(keys)
        self._woken.set()

    def forget(self, key: Key) -> None:
        """An object that is gone is not written any more."""
        self._asked.drop(key)
        self._again.drop(key)
        self._written.pop(key, None)

    def lag(self) -> float:
        """Seconds by which the oldest write is late; 0: all that was due is written. What is being written is due."""
        now = asyncio.get_running_loop().time()
        oldest = min((self._asked.oldest(now), self._again.oldest(now) + PATIENCE, *self._busy.values()))
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
            now = asyncio.get_running_loop().time()
            asked, again = self._asked.first(self._busy), self._again.first(self._busy)
            if asked is not None and asked[0] <= now and (again is None or asked[0] <= again[0] + PATIENCE):
                self._asked.drop(asked[1])
                return asked[1]
            if again is not None and again[0] <= now:
                self._again.drop(again[1])
                return again[1]
            if self._trickle:
                one_of_many = self._next_of_many()
                if one_of_many is not None:
                    return one_of_many
                continue
            await self._until(min((first[0] for first in (asked, again) if first is not None), default=None))

    async def _until(self, when: float | None) -> None:
        """Wait until then, or until something is asked for."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(when):
                await self._woken.wait()

    def _next_of_many(self) -> Key | None:
        """The next that nobody asked for otherwise; one that is being written is written again after."""
        key = self._trickle.popleft()
        if key in self._busy:
            self.request(key)
            return None
        self._asked.drop(key)
        return key

    async def _do(self, key: Key) -> None:
        again = None
        try:
            again = await self._write(key)
        except Exception as fault:  # one object's fault must not stop the others
            logger.warning("%s %s is not written, again in %s s: %s", *key, RETRY, fault)
            self.request(key, RETRY)
        finally:
            del self._busy[key]
            self._slots.release()
        now = self._written[key] = asyncio.get_running_loop().time()
        asked = self._asked.drop(key)
        if asked is not None:
            self.request(key, max(0, asked - now))
        self._again.drop(key)
        if again is not None and self._again.put(key, now + max(again, SPACING)):
            self._woken.set()
