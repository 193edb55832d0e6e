"""The operator as a whole: one writer at a time, its hubs, kopf, heartbeats."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

import kopf
from sqlalchemy.exc import SQLAlchemyError

from hubquota.cluster import handlers, user_quotas
from hubquota.cluster.api import OURS, Api, ApiError, connected, own_namespace
from hubquota.cluster.garbage import taking_in_much
from hubquota.cluster.hub import Hub
from hubquota.cluster.leases import Terms, WriterLease, beat
from hubquota.ledger import Ledger
from hubquota.metrics import Metrics, served
from hubquota.settings import Settings

logger = logging.getLogger(__name__)

#: Gives microseconds since 1970.
Clock = Callable[[], int]

#: Listings of pods that may fail in a row before the heartbeat stops: the chain is no longer sound.
_MISSED: Final = 3
#: Seconds from the first word of a new listing until the pods are compared: its other words come together.
_LISTED: Final = 1.0
#: Seconds by which a status may be late before the heartbeat stops.
_LATE: Final = 60.0
#: Seconds between two looks for expired UserQuotas.
_HOURLY: Final = 3600.0


class Ended(Exception):
    """The operator cannot go on and should be started again; the message says why."""


def microseconds() -> int:
    """Now, in microseconds since 1970."""
    return time.time_ns() // 1000


async def run(settings: Settings, clock: Clock = microseconds) -> None:
    """Serve until told to stop. ``clock`` gives microseconds since 1970.

    Raises Ended, LeaseLost, ApiError or SQLAlchemyError where it cannot go on.
    """
    metrics = Metrics()
    with served(metrics, str(settings.metrics_address), settings.metrics_port):
        await _run(settings, metrics, clock)


async def _run(settings: Settings, metrics: Metrics, clock: Clock) -> None:
    async with (
        connected(settings.request_timeout) as api,
        await Ledger.open(settings.database(), settings.cluster) as ledger,
    ):
        namespace = settings.operator_namespace or own_namespace()
        terms = Terms(settings.writer_lease_duration, settings.writer_renew_deadline, settings.writer_retry_period)
        identity = f"{socket.gethostname()}-{os.getpid()}"
        logger.info("identity=%s waits for the writer's Lease in namespace=%s", identity, namespace)
        lease = WriterLease(api, namespace, identity, terms)
        namespaces = settings.hub_namespaces or (own_namespace(),)

        def hubs() -> dict[str, Hub]:
            most = settings.max_user_quotas
            return {n: Hub(api, ledger, n, settings.cluster, clock, most, metrics.of(n)) for n in namespaces}

        await lease.hold(lambda: _serve(api, settings, identity, hubs()))


async def _serve(api: Api, settings: Settings, identity: str, hubs: dict[str, Hub]) -> None:
    await _known(api, next(iter(hubs)))
    versions: dict[str, str] = {}
    with taking_in_much():
        for hub in hubs.values():
            await hub.start()
            versions[hub.namespace] = await user_quotas.listed(api, hub)
    stop, watching = asyncio.Event(), asyncio.Event()
    jobs: list[Callable[[], Awaitable[None]]] = []
    for hub in hubs.values():
        jobs += _jobs(api, hub, versions[hub.namespace], settings)
        jobs.append(partial(_heartbeat, api, hub, settings, identity, watching))
    tasks = [asyncio.ensure_future(job()) for job in jobs]
    tasks.append(asyncio.ensure_future(_kopf(hubs, settings, identity, stop, watching)))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        await _judge(tasks, stop)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _jobs(api: Api, hub: Hub, version: str, settings: Settings) -> list[Callable[[], Awaitable[None]]]:
    return [
        hub.scheduler.run,
        hub.memberships.run,
        partial(user_quotas.follow, api, hub, version),
        partial(_resync, hub, settings.resync_interval),
        partial(_expire, hub, settings.user_quota_retention),
    ]


async def _judge(tasks: Sequence["asyncio.Future[None]"], stop: asyncio.Event) -> None:
    """Nothing may end by itself, unless we were told to stop."""
    for task in tasks:
        if task.done() and (fault := task.exception()) is not None:
            raise Ended(f"a part has failed: {fault or type(fault).__name__}") from fault
    if not stop.is_set():
        raise Ended("a part has ended by itself: are the CRDs and the operator's Role in place?")


async def _kopf(
    hubs: dict[str, Hub], settings: Settings, identity: str, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    answering = asyncio.ensure_future(_answer_signals(ready, stop))
    try:
        await kopf.operator(
            registry=handlers.registry(hubs),
            settings=handlers.settings(settings.request_timeout),
            namespaces=list(hubs),
            standalone=True,
            # Its own would need a name for our user id, which a pod's has not.
            identity=identity,  # type: ignore[arg-type]
            stop_flag=stop,
            ready_flag=ready,
        )
    finally:
        answering.cancel()


async def _answer_signals(ready: asyncio.Event, stop: asyncio.Event) -> None:
    """Stop in order when told to; after kopf is ready, for it sets handlers of its own before."""
    await ready.wait()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, stop)


def _stop(stop: asyncio.Event) -> None:
    logger.info("told to stop")
    # It closes its connections first and then complains of those that it was opening.
    logging.getLogger("kopf").setLevel(logging.CRITICAL)
    stop.set()


async def _known(api: Api, namespace: str) -> None:
    """Wait until the API server knows our resources: kopf would not."""
    told = False
    while True:
        try:
            for plural in ("quotapolicies", "userquotas"):
                await api.get(f"{OURS}/namespaces/{namespace}/{plural}", limit="1")
        except ApiError as error:
            if not told:
                logger.warning("waits for the CRDs of hubquota.dev and the right to read them: %s", error)
            told = True
            await asyncio.sleep(2)
        else:
            return


async def _resync(hub: Hub, seconds: float) -> None:
    """Every so many seconds, and where a watch began anew: kopf tells of no deletion that it missed."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await hub.relisted.wait()
                await asyncio.sleep(_LISTED)
        hub.relisted.clear()
        try:
            await hub.resync()
        except (ApiError, SQLAlchemyError) as error:
            logger.warning("hub=%s pods are not listed, again in %s s: %s", hub.namespace, seconds, error)


async def _expire(hub: Hub, retention: float) -> None:
    """At the start, and every hour, or as often as the retention (seconds) where that is shorter."""
    while True:
        try:
            await hub.expire(int(retention * 1_000_000))
        except ApiError as error:
            logger.warning("hub=%s expired UserQuotas are not deleted: %s", hub.namespace, error)
        await asyncio.sleep(min(_HOURLY, retention))


async def _heartbeat(api: Api, hub: Hub, settings: Settings, identity: str, watching: asyncio.Event) -> None:
    """Beat as long as the chain is sound: pods compared with the ledger not long ago, statuses written.

    The first beat waits until kopf runs, and until all that was due at the start is written: from then on a user
    without a UserQuota has no usage.
    """
    await watching.wait()
    while hub.scheduler.lag() > 0:  # noqa: ASYNC110 - it is the scheduler's own clock that runs
        await asyncio.sleep(0.1)
    logger.info("hub=%s is served", hub.namespace)
    while True:
        hub.room.turned.clear()
        age = (hub.now() - (hub.synced_at or 0)) / 1_000_000
        if age < _MISSED * settings.resync_interval and hub.scheduler.lag() < _LATE:
            try:
                await beat(api, hub.namespace, identity, datetime.now(UTC), hub.room.at_cap)
                hub.metrics.heartbeat.set(microseconds() / 1_000_000)
            except ApiError as error:
                logger.warning("hub=%s heartbeat is not written: %s", hub.namespace, error)
        with contextlib.suppress(TimeoutError):
            # That the cap of UserQuotas is reached does not wait for the next beat. (wait_for would make a task, and
            # kopf ends all tasks that were made after its start.)
            async with asyncio.timeout(settings.heartbeat_interval):
                await hub.room.turned.wait()
