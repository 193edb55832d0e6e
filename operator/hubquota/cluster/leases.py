"""The writer's Lease, so that of several operators one writes; and the heartbeat, by which hubs judge the operator.

The elector is our own: the one of the `kubernetes` package cannot create a Lease, has no timeouts, and lets its work go
on when the API server refuses a connection.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from hubquota.cluster.api import Api, ApiError, Json
from hubquota.domain.pods import rfc3339

logger = logging.getLogger(__name__)

HEARTBEAT: Final = "hubquota-heartbeat"
WRITER: Final = "hubquota-writer"
#: On the heartbeat while a hub has as many UserQuotas as it may have: how many that is.
AT_CAP: Final = "hubquota.dev/at-cap"
#: On the heartbeat while the ledger cannot be written: since when. Metering goes on in memory.
LEDGER_AWAY: Final = "hubquota.dev/ledger-away-since"
#: On the heartbeat while all statuses reflect all policies: which, as a digest. It is for the next operator.
REFLECTS: Final = "hubquota.dev/reflects"
_CONFLICT: Final = 409
_MISSING: Final = 404
#: So often is the Lease given back where something comes in between: no more than one renewal can.
_TRIES: Final = 3


class LeaseLost(Exception):
    """The writer could not renew its Lease in time and has stopped writing; it should end and be started again."""


@dataclass(frozen=True)
class Terms:
    """Seconds: how long a Lease holds, when its holder gives up renewing it, how often it is tried."""

    duration: float = 10
    renew_deadline: float = 7
    retry_period: float = 2


@dataclass(frozen=True)
class Clock:
    """Time as the operator knows it; tests bring their own."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = lambda: asyncio.get_running_loop().time()


class WriterLease:
    """Held by one operator at a time. ``identity`` is unique to this process."""

    def __init__(self, api: Api, namespace: str, identity: str, terms: Terms, clock: Clock | None = None) -> None:
        self._api = api
        self._path = leases_path(namespace)
        self._identity = identity
        self._terms = terms
        self._clock = clock or Clock()
        self._seen: tuple[str, float] | None = None
        #: When the last renewal that succeeded was asked for, by the monotonic clock; None: it is not held.
        self._renewed: float | None = None
        self._said = ""

    def holds(self) -> bool:
        """Whether nobody else may have taken over yet: also right in a process that was stopped for a while."""
        return self._renewed is not None and self._age() < self._terms.renew_deadline

    async def hold(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, do ``work`` while it is held, and give it back.

        Raises LeaseLost where it could not be renewed in time; ``work`` has been cancelled by then.
        """
        while not await self._renew():  # noqa: ASYNC110 - the event is on another machine
            await asyncio.sleep(self._terms.retry_period)
        doing = asyncio.ensure_future(work())
        renewing = asyncio.ensure_future(self._keep())
        try:
            await asyncio.wait({doing, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if renewing.done() and not doing.done():
                raise LeaseLost("the writer's Lease could not be renewed in time: another operator may write now")
            await doing
        finally:
            self._renewed = None
            await _ended(doing)
            await _ended(renewing)
            await self._give_back()

    async def _keep(self) -> None:
        """Renew until it fails for longer than the deadline, or another holds it."""
        while (left := self._terms.renew_deadline - self._age()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):  # wait_for would make a task, which kopf would end with its own
                    await self._renew()
            await asyncio.sleep(self._terms.retry_period)

    async def _renew(self) -> bool:
        asked = self._clock.monotonic()
        ours = await self._try()
        if ours:
            self._renewed = asked
        return ours

    def _age(self) -> float:
        return self._clock.monotonic() - (self._renewed or 0.0)

    async def _try(self) -> bool:
        """Whether the Lease is ours now. A refusal or an unreachable API server is a no."""
        try:
            lease = await self._read()
            if lease is None:
                await self._api.create(self._path, self._mine(None))
                return True
            if not self._free(lease):
                return False
            await self._api.replace(f"{self._path}/{WRITER}", self._mine(lease))
        except ApiError as error:
            if error.status != _CONFLICT and str(error) != self._said:
                self._said = str(error)
                logger.warning("the writer's Lease cannot be had, tried again and again: %s", error)
            return False
        return True

    async def _read(self) -> Json | None:
        try:
            return await self._api.get(f"{self._path}/{WRITER}")
        except ApiError as error:
            if error.status != _MISSING:
                raise
            return None

    def _free(self, lease: Json) -> bool:
        """Ours, given back, or not renewed for its duration, by our own monotonic clock: no clock is compared."""
        holder = lease["spec"].get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, self._clock.monotonic())
        duration: float = lease["spec"].get("leaseDurationSeconds", self._terms.duration)
        return self._clock.monotonic() - self._seen[1] > duration

    def _mine(self, lease: Json | None) -> Json:
        now = micro_time(self._clock.now())
        spec: Json = dict(lease["spec"]) if lease else {}
        changes = spec.get("leaseTransitions", 0)
        if spec.get("holderIdentity") != self._identity:
            spec |= {"acquireTime": now, "leaseTransitions": changes + 1 if lease else 0}
        # The API takes whole seconds; rounded up, so that nobody takes over early.
        spec |= {
            "holderIdentity": self._identity,
            "renewTime": now,
            "leaseDurationSeconds": -int(-self._terms.duration // 1),
        }
        metadata: dict[str, Any] = lease["metadata"] if lease else {"name": WRITER}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    async def _give_back(self) -> None:
        """So that a standby need not wait; best effort, for the Lease ends by itself."""
        with contextlib.suppress(ApiError):
            for _ in range(_TRIES):
                if await self._given_back():
                    return

    async def _given_back(self) -> bool:
        """Whether it is not ours any more; not: a renewal came in between, that was under way when we ended."""
        lease = await self._read()
        if lease is None or lease["spec"].get("holderIdentity") != self._identity:
            return True
        lease["spec"]["holderIdentity"] = ""
        try:
            await self._api.replace(f"{self._path}/{WRITER}", lease)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            return False
        return True


@dataclass(frozen=True)
class Told:
    """What a heartbeat tells beside that the operator lives.

    ``at_cap``: as many UserQuotas as there may be are there, this many, so that hooks make no more. ``ledger_away``:
    since when the ledger cannot be written (microseconds since 1970). ``reflects``: the policies that all statuses
    reflect, as a digest. None: it is not so.
    """

    at_cap: int | None = None
    ledger_away: int | None = None
    reflects: str | None = None

    def annotations(self) -> dict[str, str | None]:
        """As a Lease has them; None: taken away."""
        return {
            AT_CAP: None if self.at_cap is None else str(self.at_cap),
            REFLECTS: self.reflects,
            LEDGER_AWAY: None if self.ledger_away is None else rfc3339(self.ledger_away),
        }


async def beat(api: Api, namespace: str, identity: str, now: datetime, tells: Told = Told()) -> None:
    """Renew a hub's heartbeat. Raises ApiError."""
    told = tells.annotations()
    spec = {"holderIdentity": identity, "renewTime": micro_time(now)}
    body: Json = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": HEARTBEAT, "annotations": {k: v for k, v in told.items() if v is not None}},
        "spec": spec,
    }
    try:
        await api.patch(f"{leases_path(namespace)}/{HEARTBEAT}", {"metadata": {"annotations": told}, "spec": spec})
    except ApiError as error:
        if error.status != _MISSING:
            raise
        await api.create(leases_path(namespace), body)


def leases_path(namespace: str) -> str:
    """Where a namespace's Leases are."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def micro_time(at: datetime) -> str:
    """An instant as Leases tell it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def _ended(task: asyncio.Future[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task
