"""The pods of one hub: observed, kept in the ledger, metered in memory."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from hubquota.cluster.api import Api
from hubquota.cluster.observing import (
    SERVERNAME,
    USERNAME,
    Poison,
    PoisonPod,
    Sight,
    observed,
    running_before_placement,
)
from hubquota.cluster.past import recalled
from hubquota.domain.history import PodRecord
from hubquota.domain.metering import Meter
from hubquota.domain.pods import rfc3339
from hubquota.domain.windows import DAY, HOUR, SECOND
from hubquota.ledger import Ledger
from hubquota.metrics import HubMetrics

logger = logging.getLogger(__name__)

#: A pod that was not seen for so long is gone for good: kopf tells of it no more.
_SETTLED: Final = 600 * SECOND
#: How much of the past is kept where policies look back less: what users are asked about, and conditions speak of.
_LEAST: Final = 35 * DAY
#: Users whose past is let go of at a time, so that the loop is held up for milliseconds.
_AT_ONCE: Final = 500


class Batch:
    """Sights that are written together. ``done``: that they are, or the fault."""

    def __init__(self) -> None:
        self.sights: list[Sight] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Pods:
    """One namespace's pods. ``clock`` gives microseconds since 1970.

    ``counts_at_once``: whether servers on their way matter to a user (S23); they hold nothing yet.
    """

    def __init__(
        self,
        api: Api,
        ledger: Ledger,
        namespace: str,
        cluster: str,
        clock: Callable[[], int],
        metrics: HubMetrics,
        counts_at_once: Callable[[str], bool],
    ) -> None:
        self._counts_at_once = counts_at_once
        self._api, self._ledger, self._clock, self._metrics = api, ledger, clock, metrics
        self._namespace, self._cluster = namespace, cluster
        self._poison = Poison()
        self._batch: Batch | None = None
        self._turn = asyncio.Lock()
        self._reach = 0
        self._let_go = 0
        #: What was told while the past is being read: the reading may be older.
        self._meanwhile: list[PodRecord] | None = None
        self.meter = Meter(clock())
        self.synced_at: int | None = None
        """When the pods were last listed and compared with the ledger; None: not yet."""

    async def start(self, reach: int) -> None:
        """Compare the ledger with the cluster and take up what it has of the last ``reach`` microseconds.

        Raises ApiError or SQLAlchemyError.
        """
        asked, sights = self._clock(), await self._listed()
        await self._ledger.record(self._records(sights))
        await self._end_missing({s.pod["metadata"]["uid"] for s in sights}, asked)
        await self._load(max(reach, _LEAST), asked)
        self._on_their_way(sights)
        self._synced(asked)

    async def look_back(self, reach: int) -> bool:
        """Have the last ``reach`` microseconds at hand; returns whether more had to be read. Raises SQLAlchemyError."""
        if reach <= self._reach:
            return False
        await self._load(reach, self._clock())
        return True

    async def resync(self) -> set[str]:
        """List all pods, take in what is new, and end those that are gone unseen (kopf tells of no deletion it missed).

        Returns the users whom it concerns. Raises ApiError or SQLAlchemyError; nothing is ended then.
        """
        asked, sights = self._clock(), await self._listed()
        present = {s.pod["metadata"]["uid"] for s in sights}
        concerned = await self.see(sights)
        concerned |= await self._take(await self._end_missing(present, asked))
        self._poison.keep(present)
        self.meter.seal(asked - _SETTLED, present.__contains__)
        await self._forget(asked)
        self._synced(asked)
        return concerned

    async def see(self, sights: Sequence[Sight]) -> set[str]:
        """Take in sights of pods; returns the users whom they concern and of whom no other caller was told.

        What comes while the ledger writes is written together: a disk can commit some dozen times a second, and a class
        that starts at nine makes hundreds of events. Raises SQLAlchemyError.
        """
        batch = self._batch = self._batch or Batch()
        batch.sights += sights
        concerned: set[str] = set()
        async with self._turn:
            if batch is self._batch:  # nobody has written it while we waited
                self._batch = None
                concerned = await self._written(batch)
        await batch.done
        return concerned

    async def _written(self, batch: Batch) -> set[str]:
        try:
            concerned = await self._recorded(batch.sights)
        except asyncio.CancelledError:
            batch.done.cancel()
            raise
        except Exception as fault:
            batch.done.set_exception(fault)
            return set()
        batch.done.set_result(None)
        return concerned

    async def _recorded(self, sights: Sequence[Sight]) -> set[str]:
        records = self._records(sights)
        for record in records:
            _tell_of(record, known=self.meter.is_open(record.user, record.uid))
        concerned = await self._take(await self._ledger.record(records))
        self._metrics.pods_metered.set(self.meter.open_count)
        return concerned | self._on_their_way(sights)

    async def _take(self, kept: Sequence[PodRecord]) -> set[str]:
        concerned, doubtful = self.meter.take(kept)
        if self._meanwhile is not None:
            self._meanwhile += kept
        await self._renew(doubtful)
        return concerned | {user for user in doubtful if user is not None}

    async def _renew(self, users: Iterable[str | None]) -> None:
        """Read the past of these users anew: it has changed."""
        for user in users:
            since = self._clock() - self._reach
            self.meter.renew(user, await self._ledger.pods_of(self._namespace, user, since))

    async def _load(self, reach: int, asked: int) -> None:
        """Read the past anew, and go on with that."""
        self._meanwhile = []
        try:
            meter = await recalled(self._ledger, self._namespace, asked - reach, asked)
            meter.take_over(self.meter)
            _, doubtful = meter.take(self._meanwhile)
        finally:
            self._meanwhile = None
        self.meter, self._reach = meter, reach
        await self._renew(doubtful)

    async def _listed(self) -> list[Sight]:
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        return [Sight(pod, self._clock()) async for pod in self._api.listing(path)]

    async def _end_missing(self, present: Collection[str], asked: int) -> Sequence[PodRecord]:
        ended = await self._ledger.end_missing(self._namespace, present, asked, self._clock())
        for gone in ended:
            at = rfc3339(gone.finished or 0)
            logger.warning("pod=%s user=%s ended unseen, estimated end=%s", gone.name, gone.user, at)
        return ended

    async def _forget(self, now: int) -> None:
        """Once an hour, let go of what no window reaches any more."""
        if now - self._let_go < HOUR:
            return
        self._let_go = now
        owners = self.meter.owners()
        for first in range(0, len(owners), _AT_ONCE):
            self.meter.forget(now - self._reach, owners[first : first + _AT_ONCE])
            await asyncio.sleep(0)

    def _synced(self, asked: int) -> None:
        self.synced_at = asked
        self._metrics.resync.set(asked / 1_000_000)
        self._metrics.pods_metered.set(self.meter.open_count)

    def _records(self, sights: Iterable[Sight]) -> list[PodRecord]:
        return [record for sight in sights if (record := self._observed(sight)) is not None]

    def _observed(self, sight: Sight) -> PodRecord | None:
        try:
            return observed(sight, self._cluster)
        except PoisonPod as poison:
            if self._poison.is_news(sight.pod["metadata"]["uid"], str(poison)):
                logger.error("%s", poison)
                self._metrics.poison_pods.inc()
            return None

    def _on_their_way(self, sights: Iterable[Sight]) -> set[str]:
        """Note the servers that are not placed yet; returns to whom they matter."""
        concerned: set[str] = set()
        for sight in sights:
            metadata = sight.pod["metadata"]
            marks = metadata.get("annotations") or {}
            user = marks.get(USERNAME)
            if not user:
                continue
            if running_before_placement(sight.pod) and not sight.gone:
                news = self.meter.expect(user, metadata["uid"], marks.get(SERVERNAME, ""))
            else:
                news = self.meter.drop(user, metadata["uid"])
            if news and self._counts_at_once(user):
                concerned.add(user)
        return concerned


def _tell_of(record: PodRecord, *, known: bool) -> None:
    if not known and record.end is None:
        logger.info("pod=%s user=%s holds since %s", record.name, record.user, rfc3339(record.scheduled))
    elif known and record.end is not None:
        logger.info("pod=%s user=%s ended %s (%s)", record.name, record.user, rfc3339(record.end.at), record.end.how)
