"""An object is written when it is due: once for many requests, again by itself, and after a fault."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from hubquota.cluster.scheduling import Key, Scheduler
from tests.testbed.patience import holds

A: Key = ("user", "a")


@asynccontextmanager
async def running(write: Callable[[Key], Awaitable[float | None]]) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(write)
    task = asyncio.create_task(scheduler.run())
    try:
        yield scheduler
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_many_requests_become_two_writes_the_first_at_once() -> None:
    written: list[Key] = []

    async def write(key: Key) -> None:
        written.append(key)

    async with running(write) as scheduler:
        scheduler.request(A)
        await holds(lambda: len(written) == 1)
        for _ in range(50):
            scheduler.request(A)
        scheduler.request(("user", "b"))
        await holds(lambda: written.count(A) == 2 and ("user", "b") in written)
        assert (written[0], written.count(A), written.count(("user", "b"))) == (A, 2, 1)


async def test_what_is_due_later_is_written_later_and_sooner_when_asked() -> None:
    written: list[Key] = []

    async def write(key: Key) -> None:
        written.append(key)

    async with running(write) as scheduler:
        scheduler.request(A, 3600)
        scheduler.request(("user", "b"), 0.01)
        await holds(lambda: written == [("user", "b")])
        scheduler.request(A)
        await holds(lambda: written == [("user", "b"), A])


async def test_a_write_names_its_next_time_and_a_fault_is_tried_again() -> None:
    answers: list[float | None] = [0.01, None]
    written: list[Key] = []

    async def write(key: Key) -> float | None:
        written.append(key)
        return answers.pop(0)

    async with running(write) as scheduler:
        scheduler.request(A)
        await holds(lambda: len(written) == 2)


async def test_one_object_s_fault_does_not_stop_another() -> None:
    written: list[Key] = []

    async def write(key: Key) -> None:
        written.append(key)
        if key == A and written.count(A) == 1:
            raise RuntimeError("refused")

    async with running(write) as scheduler:
        scheduler.request(A)
        scheduler.request(("user", "b"))
        await holds(lambda: ("user", "b") in written and written.count(A) == 2)


async def test_a_request_during_a_write_is_not_lost() -> None:
    gate = asyncio.Event()
    written: list[Key] = []

    async def write(key: Key) -> None:
        written.append(key)
        await gate.wait()

    async with running(write) as scheduler:
        scheduler.request(A)
        await holds(lambda: len(written) == 1)
        scheduler.request(A)
        gate.set()
        await holds(lambda: len(written) == 2)


async def test_what_happens_does_not_wait_for_the_many_that_are_written_when_nothing_else_is_due() -> None:
    written: list[Key] = []
    gate = asyncio.Event()

    async def write(key: Key) -> None:
        await gate.wait()
        written.append(key)

    many: list[Key] = [("user", str(i)) for i in range(100)]
    async with running(write) as scheduler:
        scheduler.trickle(many)
        await asyncio.sleep(0)
        await holds(lambda: len(scheduler._busy) == 8)
        scheduler.request(A)
        gate.set()
        await holds(lambda: len(written) == 101)
    assert written.index(A) <= 16
    assert set(written) == {A, *many}


async def test_whoever_was_written_just_now_is_written_before_the_many_where_it_matters() -> None:
    written: list[Key] = []

    async def write(key: Key) -> None:
        written.append(key)

    many: list[Key] = [("user", str(i)) for i in range(100)]
    async with running(write) as scheduler:
        scheduler.request(A)
        await holds(lambda: written == [A])
        scheduler.request(A, spaced=False)
        scheduler.trickle(many)
        await holds(lambda: len(written) == 102)
    assert written.index(A, 1) == 1


async def test_what_happens_does_not_wait_for_those_whose_amounts_only_grow_older() -> None:
    """Many are due again at the same time; whoever something happens to meanwhile is written next."""
    written: list[Key] = []
    gate = asyncio.Event()
    gate.set()

    async def write(key: Key) -> float | None:
        await gate.wait()
        written.append(key)
        if len(written) == len(many):
            gate.clear()
        return 0.3 if written.count(key) == 1 and key != A else None

    many: list[Key] = [("user", str(i)) for i in range(100)]
    async with running(write) as scheduler:
        for key in many:
            scheduler.request(key)
        await holds(lambda: len(written) == 100)
        await holds(lambda: len(scheduler._busy) == 8)
        loop = asyncio.get_running_loop()
        until_then = loop.time() + 0.3
        await holds(lambda: loop.time() > until_then)  # all of them are due again
        scheduler.request(A)
        gate.set()
        await holds(lambda: len(written) == 201)
    assert written.index(A) <= 108
    assert scheduler.lag() == 0


async def test_they_wait_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubquota.cluster.scheduling.PATIENCE", 0.1)
    written: list[Key] = []

    async def write(key: Key) -> float | None:
        written.append(key)
        await asyncio.sleep(0.01)
        if key == A:
            return 0.3 if written.count(A) == 1 else None
        scheduler.request((key[0], str(int(key[1]) + 8)))  # always something that is due
        return None

    async with running(write) as scheduler:
        scheduler.request(A)
        for n in range(16):
            scheduler.request(("user", str(n)))
        await holds(lambda: written.count(A) == 2)
        assert written.index(A, 1) > 16


async def test_what_is_late_is_known_once_it_has_waited_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubquota.cluster.scheduling.PATIENCE", 0.2)
    gate = asyncio.Event()

    async def write(_: Key) -> float | None:
        if len(done) == 1:
            await gate.wait()
        done.append(1)
        return 0.3 if len(done) == 1 else None

    done: list[int] = []
    async with running(write) as scheduler:
        scheduler.request(A)
        await holds(lambda: len(done) == 1)
        await holds(lambda: scheduler.lag() > 0)
        gate.set()
        await holds(lambda: len(done) == 2 and scheduler.lag() == 0)
