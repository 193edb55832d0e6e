"""The operator as a whole: one writer at a time, its hubs, kopf, heartbeats."""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import kopf
from sqlalchemy.exc import SQLAlchemyError

from hubquota.cluster import handlers, user_quotas
from hubquota.cluster.api import Api, ApiError, connected, own_namespace
from hubquota.cluster.garbage import taking_in_much
from hubquota.cluster.hub import Hub
from hubquota.cluster.leases import Terms, WriterLease
from hubquota.cluster.namespaces import Namespaces, look_into
from hubquota.cluster.nodes import Nodes
from hubquota.cluster.rounds import Job, jobs, unready
from hubquota.health import Health
from hubquota.ledger import Ledger, LedgerAway, explained
from hubquota.metrics import Metrics, served
from hubquota.settings import Settings

logger = logging.getLogger(__name__)

#: Gives microseconds since 1970.
Clock = Callable[[], int]

#: Seconds to write what waits before the end.
_PARTING: Final = 3.0
#: Seconds for parts to end that are told to: kopf has been seen to miss that, when its credentials had run out.
_ENDING: Final = 10.0
#: Seconds until what is away is tried again: flat and short, so that its return is noticed soon.
_RETRY: Final = 2.0


class Ended(Exception):
    """The operator cannot go on and should be started again; the message says why."""


def microseconds() -> int:
    """Now, in microseconds since 1970."""
    return time.time_ns() // 1000


async def run(settings: Settings, clock: Clock = microseconds) -> None:
    """Serve until told to stop. ``clock`` gives microseconds since 1970.

    Raises Ended, LeaseLost, Superseded, ApiError or SQLAlchemyError where it cannot go on.
    """
    metrics, health = Metrics(), Health()
    with served(metrics.registry, health, str(settings.metrics_address), settings.metrics_port):
        probed = asyncio.ensure_future(health.follow())
        try:
            await _run(settings, metrics, health, clock)
        finally:
            probed.cancel()


async def _run(settings: Settings, metrics: Metrics, health: Health, clock: Clock) -> None:
    async with connected(settings.request_timeout) as api, await _opened(settings, health) as ledger:
        namespace = settings.operator_namespace or own_namespace()
        terms = Terms(settings.writer_lease_duration, settings.writer_renew_deadline, settings.writer_retry_period)
        identity = f"{socket.gethostname()}-{os.getpid()}"
        logger.info("identity=%s waits for the writer's Lease in namespace=%s", identity, namespace)
        health.look = lambda: None  # a standby does its work
        lease = WriterLease(api, namespace, identity, terms)
        server = _Server(api.guarded(lease.holds), ledger, settings, identity, metrics, health, clock)
        await lease.hold(server.run)


async def _opened(settings: Settings, health: Health) -> Ledger:
    """The ledger; waits where its database is away, for restarting would wait longer each time. Raises LedgerError."""
    told = False
    while True:
        try:
            return await Ledger.open(settings.database(), settings.cluster)
        except LedgerAway as fault:
            if not told:
                logger.error("waits for the ledger, tried every %s s: %s", _RETRY, fault)
                told = True
            health.look = lambda: "waits for the ledger"
            await asyncio.sleep(_RETRY)


@dataclass(frozen=True)
class _Server:
    """Serves hubs, as the one operator that writes."""

    api: Api
    ledger: Ledger
    settings: Settings
    identity: str
    metrics: Metrics
    health: Health
    clock: Clock

    async def run(self) -> None:
        """Serve the hubs that there are, and begin anew when others are, until told to stop."""
        self.health.look = lambda: "waits for a hub"
        namespaces = Namespaces(self.api, self.settings)
        stop = asyncio.Event()
        while not stop.is_set():
            names = await namespaces.some()
            logger.info("serves the hubs %s", ", ".join(names))
            await self._serve(names, partial(namespaces.changed, names), stop)
            for name in names:
                self.metrics.forget(name)

    async def _serve(self, names: tuple[str, ...], changed: Job, stop: asyncio.Event) -> None:
        nodes = Nodes(self.api, self.settings.node_labels)
        hubs = {name: self._hub(name, nodes) for name in names}
        self.health.look = lambda: unready(hubs.values(), self.settings)
        await self._patiently(lambda: self.ledger.take_over(names, self.identity, self.clock()))
        await nodes.start()
        starting, known = asyncio.Lock(), asyncio.Event()
        moved = asyncio.ensure_future(changed())
        tasks = [moved, *(asyncio.ensure_future(self._live(hub, starting, known)) for hub in hubs.values())]
        tasks.append(asyncio.ensure_future(nodes.run()))
        tasks.append(asyncio.ensure_future(_kopf(hubs, self.settings, self.identity, known, stop)))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over = await ended(tasks, _ENDING)
        await asyncio.gather(*(hub.journal.flush(_PARTING) for hub in hubs.values()))
        _judge(done, in_order=stop.is_set() or moved in done)
        if not over:
            raise Ended("a part does not end")

    async def _live(self, hub: Hub, starting: asyncio.Lock, known: asyncio.Event) -> None:
        """Serve one hub: one that cannot be read yet makes no other wait."""
        while True:
            await _known(self.api, hub.namespace)
            known.set()
            try:
                async with starting:  # one after the other, so that each is there as soon as can be
                    version = await self._started(hub)
                break
            except ApiError as fault:
                logger.warning("hub=%s cannot be taken up, tried again: %s", hub.namespace, fault)
                await asyncio.sleep(_RETRY)
        hub.started.set()
        await _together(jobs(self.api, self.ledger, hub, version, self.settings, self.identity))

    async def _started(self, hub: Hub) -> str:
        """Take up what is known of a hub; returns the version of its UserQuotas."""
        with taking_in_much():
            await self._patiently(hub.start)
            return await user_quotas.listed(self.api, hub)

    async def _patiently(self, work: Job) -> None:
        """Again and again where the ledger is away: nobody may be told a standing that was not read."""
        told = False
        while True:
            try:
                return await work()
            except SQLAlchemyError as fault:
                if not told:
                    logger.error("waits for the ledger, tried every %s s: %s", _RETRY, explained(fault))
                    told = True
                await asyncio.sleep(_RETRY)

    def _hub(self, name: str, nodes: Nodes) -> Hub:
        most, buffer = self.settings.max_user_quotas, self.settings.ledger_buffer
        cluster, metrics = self.settings.cluster, self.metrics.of(name)
        return Hub(self.api, self.ledger, name, cluster, self.clock, most, metrics, buffer, nodes)


def _judge(done: Iterable["asyncio.Future[None]"], *, in_order: bool) -> None:
    """Nothing may end by itself. Raises Ended."""
    for task in done:
        if (fault := task.exception()) is not None:
            raise Ended(f"a part has failed: {fault or type(fault).__name__}") from fault
    if not in_order:
        raise Ended("a part has ended by itself: are the CRDs and the operator's Role in place?")


async def _together(all_of_them: Iterable[Job]) -> None:
    """Run jobs until the first fails; raises its fault when the others have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            for job in all_of_them:
                group.create_task(_run_one(job))
    except ExceptionGroup as faults:
        raise faults.exceptions[0] from faults


async def _run_one(job: Job) -> None:
    await job()


async def ended(tasks: Iterable["asyncio.Future[None]"], seconds: float) -> bool:
    """Cancel tasks, and wait for ``seconds`` until they have ended; whether all have."""
    waiting = set(tasks)
    for task in waiting:
        task.cancel()
    over, left = await asyncio.wait(waiting, timeout=seconds)
    await asyncio.gather(*over, return_exceptions=True)
    return not left


async def _kopf(
    hubs: Mapping[str, Hub], settings: Settings, identity: str, known: asyncio.Event, stop: asyncio.Event
) -> None:
    """Watch from when the CRDs are there, for it looks for them once."""
    await known.wait()
    ready = asyncio.Event()
    answering = asyncio.ensure_future(_answer_signals(ready, stop, hubs.values()))
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


async def _answer_signals(ready: asyncio.Event, stop: asyncio.Event, hubs: Iterable[Hub]) -> None:
    """Stop in order when told to; after kopf is ready, for it sets handlers of its own before."""
    await ready.wait()
    for hub in hubs:
        hub.watched.set()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _stop, stop)


def _stop(stop: asyncio.Event) -> None:
    logger.info("told to stop")
    # It closes its connections first and then complains of those that it was opening.
    logging.getLogger("kopf").setLevel(logging.CRITICAL)
    stop.set()


async def _known(api: Api, namespace: str) -> None:
    """Wait until the API server knows our resources, and we may read them: kopf would not."""
    told = False
    while True:
        try:
            await look_into(api, namespace)
        except ApiError as error:
            if not told:
                words = "hub=%s waits for the CRDs of hubquota.dev and the right to read them: %s"
                logger.warning(words, namespace, error)
            told = True
            await asyncio.sleep(_RETRY)
        else:
            return
