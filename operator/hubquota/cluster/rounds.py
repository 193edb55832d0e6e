"""What is done for a hub again and again while it is served."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from hubquota.cluster import events, monitoring, user_quotas
from hubquota.cluster.api import Api, ApiError
from hubquota.cluster.hub import Hub
from hubquota.cluster.leases import Told, beat
from hubquota.ledger import Ledger, explained, pruning
from hubquota.settings import Settings

logger = logging.getLogger(__name__)

Job = Callable[[], Awaitable[None]]

#: Listings of pods that may fail in a row before the heartbeat stops: the chain is no longer sound.
MISSED: Final = 3
#: Seconds from the first word of a new listing until the pods are compared: its other words come together.
_LISTED: Final = 1.0
#: Seconds by which a status may be late before the heartbeat stops.
_LATE: Final = 60.0
#: Seconds between two looks for expired UserQuotas.
_HOURLY: Final = 3600.0
_DAILY: Final = 86_400.0


def jobs(api: Api, ledger: Ledger, hub: Hub, version: str, settings: Settings, identity: str) -> list[Job]:
    """All of them, to run until cancelled. ``version``: of the UserQuotas that were listed."""
    made: list[Job] = [
        hub.scheduler.run,
        hub.journal.run,
        partial(_verify, hub),
        hub.memberships.run,
        hub.decisions.run,
        hub.announcer.run,
        partial(events.follow, api, hub),
        partial(user_quotas.follow, api, hub, version),
        partial(_resync, hub, settings.resync_interval),
        partial(_expire, hub, settings.user_quota_retention),
        partial(_heartbeat, api, hub, settings, identity),
    ]
    if not ledger.shared:
        made.append(partial(_monitor, api, ledger, hub, settings))
    if settings.hub_api(hub.namespace) is not None:
        made.append(partial(_list_users, hub, settings))
    if settings.ledger_retention is not None:
        made.append(partial(_prune, ledger, hub, settings.ledger_retention))
    return made


def doubt(hub: Hub, settings: Settings) -> str | None:
    """Why what the statuses say may not be relied on, in words; None: the whole chain is sound."""
    age, late = (hub.now() - (hub.synced_at or 0)) / 1_000_000, hub.scheduler.lag()
    if age >= MISSED * settings.resync_interval:
        return f"hub {hub.namespace}: its pods were not listed for {age:.0f} s"
    if late >= _LATE:
        return f"hub {hub.namespace}: statuses are {late:.0f} s late"
    if hub.journal.full:
        return f"hub {hub.namespace}: as many pods wait for the ledger as may (ledger_buffer)"
    return None


def unready(hubs: Iterable[Hub], settings: Settings) -> str | None:
    """What a readiness probe is told of these hubs; None: all are served."""
    told: list[str] = []
    for hub in hubs:
        if not hub.served.is_set():
            told.append(f"hub {hub.namespace}: its past is being read")
        elif (found := doubt(hub, settings)) is not None:
            told.append(found)
        elif hub.journal.away_since is not None:
            told.append(f"hub {hub.namespace}: the ledger cannot be written, metering goes on in memory")
    return "; ".join(told) or None


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
            logger.warning("hub=%s pods are not listed, again in %s s: %s", hub.namespace, seconds, _words(error))


async def _verify(hub: Hub) -> None:
    """Once, when the hub is served: compare in full what was believed at the start."""
    await hub.served.wait()
    await hub.verify()
    await asyncio.Event().wait()  # a job that ends would end all


async def _expire(hub: Hub, retention: float) -> None:
    """At the start, and every hour, or as often as the retention (seconds) where that is shorter."""
    while True:
        try:
            await hub.expire(int(retention * 1_000_000))
        except ApiError as error:
            logger.warning("hub=%s expired UserQuotas are not deleted: %s", hub.namespace, error)
        await asyncio.sleep(min(_HOURLY, retention))


async def _list_users(hub: Hub, settings: Settings) -> None:
    """When the hub is served: whoever is using it comes first."""
    await hub.served.wait()
    await hub.roll.follow(settings)


async def _monitor(api: Api, ledger: Ledger, hub: Hub, settings: Settings) -> None:
    """The final check, where no other process can make it."""
    grace = monitoring.grace(settings)
    while True:
        await asyncio.sleep(settings.monitor_interval)
        try:
            await hub.learn(await monitoring.look(api, ledger, hub.namespace, hub.now, grace))
        except (ApiError, SQLAlchemyError) as error:
            told = (hub.namespace, settings.monitor_interval, _words(error))
            logger.warning("hub=%s the ledger is not checked for pods that are gone, again in %s s: %s", *told)


async def _prune(ledger: Ledger, hub: Hub, retention: float) -> None:
    """Once a day, what is older than so many seconds; what somebody may still look back on is kept for longer."""
    while True:
        await asyncio.sleep(min(_DAILY, retention))
        now = hub.now()
        try:
            latest, _ = await pruning.limit(ledger, hub.namespace, now)
            done = await pruning.prune(ledger, hub.namespace, min(now - int(retention * 1_000_000), latest), now)
            logger.info("hub=%s pruned pods=%s decisions=%s", hub.namespace, done.pods, done.decisions)
        except (SQLAlchemyError, pruning.CannotPrune) as error:
            logger.warning("hub=%s the ledger is not pruned, again in a day: %s", hub.namespace, _words(error))


async def _heartbeat(api: Api, hub: Hub, settings: Settings, identity: str) -> None:
    """Beat as long as the chain is sound: pods listed not long ago, ledger or its buffer accepting, statuses written.

    The first beat waits until kopf runs, and until all that was due at the start is written: from then on a user
    without a UserQuota has no usage.
    """
    await hub.watched.wait()
    while hub.scheduler.lag() > 0:  # noqa: ASYNC110 - it is the scheduler's own clock that runs
        await asyncio.sleep(0.1)
    hub.served.set()
    logger.info("hub=%s is served", hub.namespace)
    while True:
        hub.room.turned.clear()
        if doubt(hub, settings) is None:
            await _beat(api, hub, identity)
        with contextlib.suppress(TimeoutError):
            # That the cap of UserQuotas is reached, or the ledger away, waits for no beat. (wait_for would
            # make a task, and kopf ends all tasks that were made after its start.)
            async with asyncio.timeout(settings.heartbeat_interval):
                await hub.room.turned.wait()


async def _beat(api: Api, hub: Hub, identity: str) -> None:
    try:
        told = Told(hub.room.at_cap, hub.journal.away_since, hub.reflects())
        await beat(api, hub.namespace, identity, datetime.now(UTC), told)
    except ApiError as error:
        logger.warning("hub=%s heartbeat is not written: %s", hub.namespace, error)
    else:
        hub.metrics.heartbeat.set(datetime.now(UTC).timestamp())


def _words(error: Exception) -> Exception:
    """A fault in one line: a database's own holds statements and what was to be written."""
    return explained(error) if isinstance(error, SQLAlchemyError) else error
