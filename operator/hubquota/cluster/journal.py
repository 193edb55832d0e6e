"""What the ledger is still to be told. Metering never waits for a disk, nor for a database that is away.

What is seen counts in memory at once and is written in the background, all that has come together at a time. Where the
database cannot be written, what is to be written waits, for as long as it takes, and is written when it is back.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Final

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError, StatementError

from hubquota.domain.history import PodRecord
from hubquota.domain.pods import rfc3339
from hubquota.ledger import Ledger
from hubquota.ledger.merging import merged
from hubquota.metrics import HubMetrics

logger = logging.getLogger(__name__)

#: Seconds until a database that is away is tried again: flat and short, so that its return is noticed soon.
RETRY: Final = 2.0
#: Pods in one transaction, which is put together in the loop that all else waits for: some 50 ms.
_AT_ONCE: Final = 250
#: Other notes that wait at most: revisions of policies, which admins alone make.
_MOST_NOTES: Final = 10_000
#: Writes something that is no pod; repeating it changes nothing.
Note = Callable[[], Awaitable[object]]


class Journal:
    """What waits to be written of one hub. ``most``: pods that may wait. ``clock``: microseconds since 1970.

    ``learned`` is told what the ledger says of pods once they are written: it may know more of them. ``turned`` is
    called when the ledger goes away, and when it is back, ``refused`` with a pod that it does not take, and why.
    """

    def __init__(
        self,
        ledger: Ledger,
        hub: str,
        most: int,
        clock: Callable[[], int],
        metrics: HubMetrics,
        learned: Callable[[Sequence[PodRecord]], Awaitable[None]],
        turned: Callable[[], None],
        refused: Callable[[PodRecord, str], None],
    ) -> None:
        self._ledger, self._hub, self._most, self._clock = ledger, hub, most, clock
        self._metrics, self._learned, self._turned, self._refused = metrics, learned, turned, refused
        self._waiting: dict[str, PodRecord] = {}
        self._under_way: dict[str, PodRecord] = {}
        self._notes: deque[Note] = deque(maxlen=_MOST_NOTES)
        self._askers: list[asyncio.Future[None]] = []
        self._woken = asyncio.Event()
        self._overflowing = False
        self.away_since: int | None = None
        """Since when the ledger cannot be written (microseconds since 1970); None: it can."""
        metrics.ledger_available.set(1)

    @property
    def full(self) -> bool:
        """Whether no more pods are taken: from then on what happens is metered in memory alone."""
        return len(self._waiting) + len(self._under_way) >= self._most

    def add(self, pods: Iterable[PodRecord]) -> None:
        """Have pods written. One that waits already is joined; where it is full, others are left out and counted.

        Those are written after all if their objects are still listed when there is room again.
        """
        for pod in pods:
            before = self._waiting.get(pod.uid)
            if before is not None:
                self._waiting[pod.uid] = merged(before, pod)
            elif not self.full:
                self._waiting[pod.uid] = pod
            else:
                self._leave_out()
        self._count()
        self._woken.set()

    def note(self, note: Note) -> None:
        """Have something else written, in the order in which it was noted."""
        self._notes.append(note)
        self._woken.set()

    def holds(self, uid: str) -> bool:
        """Whether a pod is still to be written."""
        return uid in self._waiting or uid in self._under_way

    def of(self, users: Iterable[str | None]) -> list[PodRecord]:
        """What is still to be written of these users' pods."""
        wanted = set(users)
        return [pod for pod in (*self._under_way.values(), *self._waiting.values()) if pod.user in wanted]

    async def settled(self) -> None:
        """Wait until all that was added so far is written."""
        if self._waiting or self._under_way:
            asker = asyncio.get_running_loop().create_future()
            self._askers.append(asker)
            await asker

    async def run(self) -> None:
        """Write until cancelled. Raises Superseded where another operator has taken over the hub."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._waiting or self._notes:
                try:
                    await self._write()
                except SQLAlchemyError as fault:
                    self._away(fault)
                    await asyncio.sleep(RETRY)
                else:
                    self._back()

    async def flush(self, seconds: float) -> None:
        """Write what waits once more, before the end; no longer than ``seconds``, and no matter if it fails."""
        try:
            async with asyncio.timeout(seconds):
                while self._waiting or self._notes:
                    await self._write()
        except (SQLAlchemyError, TimeoutError) as fault:
            logger.warning("hub=%s %s pods are not written at the end: %s", self._hub, len(self._waiting), fault)

    async def _write(self) -> None:
        while self._notes:
            await self._noted(self._notes[0])
            self._notes.popleft()
        batch = dict(islice(self._waiting.items(), _AT_ONCE))
        askers = self._take_out(batch)
        try:
            kept = await self.recorded(list(batch.values()))
        except BaseException:
            self._put_back(batch, askers)
            raise
        self._under_way = {}
        self._count()
        for asker in askers:
            if not asker.done():
                asker.set_result(None)
        await self._learned(kept)

    async def _noted(self, note: Note) -> None:
        try:
            await note()
        except (StatementError, UnicodeError) as fault:
            if not _is_poison(fault):
                raise
            logger.error("hub=%s a policy is not kept, the ledger refuses it: %s", self._hub, _words(fault))

    def _take_out(self, batch: dict[str, PodRecord]) -> list["asyncio.Future[None]"]:
        """Take a batch out of what waits; returns who waits for nothing after it."""
        for uid in batch:
            del self._waiting[uid]
        self._under_way = batch
        if self._waiting:
            return []
        askers, self._askers = self._askers, []
        return askers

    def _put_back(self, batch: dict[str, PodRecord], askers: list["asyncio.Future[None]"]) -> None:
        later, self._waiting, self._under_way = self._waiting, batch, {}
        for uid, pod in later.items():
            before = self._waiting.get(uid)
            self._waiting[uid] = pod if before is None else merged(before, pod)
        self._askers = askers + self._askers

    async def recorded(self, pods: Sequence[PodRecord]) -> list[PodRecord]:
        """Write pods together, now; where the database refuses what one of them says, all but that one.

        Returns what the ledger says of them then. Raises SQLAlchemyError where it is away.
        """
        try:
            return await self._ledger.record(pods)
        except (StatementError, UnicodeError) as fault:
            if not _is_poison(fault):
                raise
            if len(pods) > 1:
                half = len(pods) // 2
                return [*await self.recorded(pods[:half]), *await self.recorded(pods[half:])]
            # Its words alone, for the statement with all its values would fill the log.
            logger.error("pod=%s is not kept, the ledger refuses it: %s", pods[0].name, _words(fault))
            self._metrics.poison_pods.inc()
            self._refused(pods[0], _words(fault))
            return []

    def _away(self, fault: SQLAlchemyError) -> None:
        if self.away_since is None:
            self.away_since = self._clock()
            logger.error("hub=%s the ledger cannot be written, tried every %s s: %s", self._hub, RETRY, _words(fault))
            self._metrics.ledger_available.set(0)
            self._turned()
        self._metrics.ledger_faults.inc()

    def _back(self) -> None:
        if self.away_since is None:
            return
        logger.warning("hub=%s the ledger is written again, after %s", self._hub, rfc3339(self.away_since))
        self.away_since = None
        self._overflowing = False
        self._metrics.ledger_available.set(1)
        self._turned()

    def _leave_out(self) -> None:
        self._metrics.ledger_left_out.inc()
        if not self._overflowing:
            self._overflowing = True
            logger.error(
                "hub=%s %s pods wait to be written, no more are taken: the heartbeat stops until the ledger is back",
                self._hub,
                self._most,
            )

    def _count(self) -> None:
        self._metrics.ledger_waiting.set(len(self._waiting) + len(self._under_way))


def _is_poison(fault: Exception) -> bool:
    """Whether it is about what was to be written, and not about the database."""
    said = isinstance(fault, DataError | IntegrityError | UnicodeError)
    return said or (type(fault) is StatementError and isinstance(fault.orig, ValueError | TypeError | OverflowError))


def _words(fault: Exception) -> str:
    told = getattr(fault, "orig", None) or fault
    return (str(told).strip() or type(told).__name__).splitlines()[0]
