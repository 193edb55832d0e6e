"""Of several operators one writes; who cannot renew stops; a standby takes over."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from hubquota.cluster.api import Api, ApiError, Json
from hubquota.cluster.leases import (
    HEARTBEAT,
    WRITER,
    Clock,
    LeaseLost,
    Terms,
    WriterLease,
    beat,
    leases_path,
    micro_time,
)
from tests.testbed.patience import PATIENCE, holds

pytestmark = pytest.mark.cluster
QUICK = Terms(duration=4, renew_deadline=2.5, retry_period=0.1)
LASTING = Terms(duration=60, renew_deadline=50, retry_period=20)


class Cut(Api):
    """An API server that can be cut off."""

    def __init__(self, whole: Api) -> None:
        super().__init__(whole._transport, whole._timeout)
        self.cut = False

    async def _call(self, *args: object, **more: object) -> Json:
        if self.cut:
            raise ApiError(0, "cut off")
        return await super()._call(*args, **more)  # type: ignore[arg-type]


class Renewed(Api):
    """An API server in which a renewal that was under way comes just before the Lease is given back."""

    def __init__(self, whole: Api) -> None:
        super().__init__(whole._transport, whole._timeout)
        self.late = True

    async def replace(self, path: str, body: Json) -> Json:
        if self.late and body["spec"]["holderIdentity"] == "":
            self.late = False
            await self.patch(path, {"spec": {"renewTime": micro_time(datetime.now(UTC))}})
        return await super().replace(path, body)


class Hands:
    """A clock that goes on when a test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.clock = Clock(self.now, lambda: self.seconds)

    def now(self) -> datetime:
        return datetime(2026, 3, 1, 9, tzinfo=UTC) + timedelta(seconds=self.seconds)


def worker(story: list[str], name: str) -> Callable[[], Awaitable[None]]:
    """Work that tells of its beginning and its end."""

    async def work() -> None:
        story.append(f"{name} begins")
        try:
            await asyncio.Event().wait()
        finally:
            story.append(f"{name} ends")

    return work


async def renewed(server: Api, namespace: str, at: datetime) -> None:
    """Wait until the Lease is renewed as of an instant."""
    async with asyncio.timeout(PATIENCE):
        while (await server.get(f"{leases_path(namespace)}/{WRITER}"))["spec"]["renewTime"] != micro_time(at):
            await asyncio.sleep(0.02)


async def ended(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_of_two_operators_one_writes_and_the_other_follows_at_once(server: Api, namespace: str) -> None:
    story, hands = list[str](), Hands()
    first, second = (WriterLease(server, namespace, name, QUICK, hands.clock) for name in ("one", "two"))
    one = asyncio.create_task(first.hold(worker(story, "one")))
    await holds(lambda: story == ["one begins"])
    two = asyncio.create_task(second.hold(worker(story, "two")))
    for _ in range(2 * int(QUICK.duration)):  # longer than a Lease holds: it is renewed
        hands.seconds += 1
        await renewed(server, namespace, hands.now())
    assert story == ["one begins"]
    await ended(one)
    await holds(lambda: story == ["one begins", "one ends", "two begins"])
    await ended(two)
    lease = await server.get(f"{leases_path(namespace)}/{WRITER}")
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("", 1)


async def test_a_writer_that_is_cut_off_stops_before_a_standby_takes_over(server: Api, namespace: str) -> None:
    story = list[str]()
    cut = Cut(server)
    one = asyncio.create_task(WriterLease(cut, namespace, "one", QUICK).hold(worker(story, "one")))
    await holds(lambda: story == ["one begins"])
    two = asyncio.create_task(WriterLease(server, namespace, "two", QUICK).hold(worker(story, "two")))
    cut.cut = True
    with pytest.raises(LeaseLost, match="could not be renewed"):
        await one
    await holds(lambda: story == ["one begins", "one ends", "two begins"])
    await ended(two)


async def test_a_renewal_that_comes_late_does_not_keep_the_lease(server: Api, namespace: str) -> None:
    story = list[str]()
    one = asyncio.create_task(WriterLease(Renewed(server), namespace, "one", LASTING).hold(worker(story, "one")))
    await holds(lambda: story == ["one begins"])
    await ended(one)
    lease = await server.get(f"{leases_path(namespace)}/{WRITER}")
    assert lease["spec"]["holderIdentity"] == ""


async def test_work_that_fails_gives_the_lease_back(server: Api, namespace: str) -> None:
    async def work() -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await WriterLease(server, namespace, "one", QUICK).hold(work)
    lease = await server.get(f"{leases_path(namespace)}/{WRITER}")
    assert lease["spec"]["holderIdentity"] == ""


async def test_a_heartbeat_is_made_and_renewed(server: Api, namespace: str) -> None:
    for second in (1, 2):
        await beat(server, namespace, "one", datetime(2026, 3, 1, 9, 0, second, tzinfo=UTC))
    lease = await server.get(f"{leases_path(namespace)}/{HEARTBEAT}")
    assert lease["spec"]["renewTime"] == "2026-03-01T09:00:02.000000Z"
