"""Of several operators one writes; who cannot renew stops; a standby takes over."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from hubquota.cluster.api import Api, ApiError, Json
from hubquota.cluster.leases import HEARTBEAT, WRITER, LeaseLost, Terms, WriterLease, beat, leases_path
from tests.testbed.patience import holds

pytestmark = pytest.mark.cluster
QUICK = Terms(duration=4, renew_deadline=2.5, retry_period=0.1)


class Cut(Api):
    """An API server that can be cut off."""

    def __init__(self, whole: Api) -> None:
        super().__init__(whole._transport, whole._timeout)
        self.cut = False

    async def _call(self, *args: object, **more: object) -> Json:
        if self.cut:
            raise ApiError(0, "cut off")
        return await super()._call(*args, **more)  # type: ignore[arg-type]


def worker(doing: list[str], name: str) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        doing.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            doing.remove(name)

    return work


async def ended(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_of_two_operators_one_writes_and_the_other_follows_at_once(server: Api, namespace: str) -> None:
    doing: list[str] = []
    one = asyncio.create_task(WriterLease(server, namespace, "one", QUICK).hold(worker(doing, "one")))
    await holds(lambda: doing == ["one"])
    two = asyncio.create_task(WriterLease(server, namespace, "two", QUICK).hold(worker(doing, "two")))
    await asyncio.sleep(2 * QUICK.duration)  # longer than a Lease holds: it is renewed
    assert doing == ["one"]
    await ended(one)
    await holds(lambda: doing == ["two"])
    await ended(two)
    lease = await server.get(f"{leases_path(namespace)}/{WRITER}")
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("", 1)


async def test_a_writer_that_is_cut_off_stops_before_a_standby_takes_over(server: Api, namespace: str) -> None:
    doing: list[str] = []
    cut = Cut(server)
    one = asyncio.create_task(WriterLease(cut, namespace, "one", QUICK).hold(worker(doing, "one")))
    await holds(lambda: doing == ["one"])
    two = asyncio.create_task(WriterLease(server, namespace, "two", QUICK).hold(worker(doing, "two")))
    cut.cut = True
    await holds(lambda: "one" not in doing)
    assert doing == []
    with pytest.raises(LeaseLost, match="could not be renewed"):
        await one
    await holds(lambda: doing == ["two"])
    await ended(two)


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
