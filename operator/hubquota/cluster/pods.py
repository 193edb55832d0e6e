"""The pods of one hub: observed, kept in the ledger, metered in memory."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence, Set
from dataclasses import replace
from typing import Final

from sqlalchemy.exc import OperationalError

from hubquota.cluster.announcing import NOT_METERED, Announcer
from hubquota.cluster.api import Api
from hubquota.cluster.journal import Journal
from hubquota.cluster.newest import Newest
from hubquota.cluster.nodes import Nodes
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
from hubquota.ledger.merging import gone_by, merged, taken_for_gone
from hubquota.metrics import HubMetrics

logger = logging.getLogger(__name__)

#: A pod that was not seen for so long is gone for good: kopf tells of it no more.
_SETTLED: Final = 600 * SECOND
#: How much of the past is kept where policies look back less: what users are asked about, and conditions speak of.
_LEAST: Final = 35 * DAY
#: Users whose past is let go of at a time, so that the loop is held up for milliseconds.
_AT_ONCE: Final = 500
#: Pods of a listing that are taken in before others get their turn: some 40 ms.
_SIGHTS: Final = 100


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
        journal: Journal,
        counts_at_once: Callable[[str], bool],
        announcer: Announcer,
        nodes: Nodes,
    ) -> None:
        self._announcer, self._nodes = announcer, nodes
        self._journal, self._counts_at_once = journal, counts_at_once
        self._api, self._ledger, self._clock, self._metrics = api, ledger, clock, metrics
        self._namespace, self._cluster = namespace, cluster
        self._poison, self._newest = Poison(), Newest()
        self._reach = 0
        self._let_go = 0
        #: Of whom a pod has come back from the past: read anew from the ledger.
        self._doubtful: set[str | None] = set()
        #: What was told while the past is being read: the reading may be older.
        self._meanwhile: list[PodRecord] | None = None
        self.meter = Meter(clock())
        self.synced_at: int | None = None
        """When the pods were last listed and compared with the ledger; None: not yet."""

    async def start(self, reach: int) -> None:
        """Compare the ledger with the cluster and take up what it has of the last ``reach`` microseconds.

        Raises ApiError or SQLAlchemyError.
        """
        asked, sights = self._clock(), self._newest.told(await self._listed())
        self.meter.restore(await self._journal.recorded(self._records(sights)))
        present = {s.pod["metadata"]["uid"] for s in sights}
        _tell_of_the_gone(await self._ledger.end_missing(self._namespace, present, asked, self._clock()))
        await self._load(max(reach, _LEAST), asked)
        self._on_their_way(sights)
        self._synced(asked)

    async def look_back(self, reach: int) -> bool:
        """Have the last ``reach`` microseconds at hand; returns whether more had to be read.

        Raises SQLAlchemyError, at once where the ledger is known to be away.
        """
        if reach <= self._reach:
            return False
        if self._journal.away_since is not None:
            raise OperationalError("read the past", None, Exception("the ledger is away"))
        await self._load(reach, self.synced_at or 0)
        return True

    async def resync(self) -> set[str]:
        """List all pods, take in what is new, and end those that are gone unseen (kopf tells of no deletion it missed).

        Returns the users whom it concerns. Raises ApiError; nothing is ended then.
        """
        asked, before = self._clock(), self._newest.asked()
        sights = await self._listed()
        present = {s.pod["metadata"]["uid"] for s in sights}
        unseen = before.keys() - present
        concerned = self._on_their_way_no_more(unseen)
        for first in range(0, len(sights), _SIGHTS):  # what happens meanwhile does not wait for all of them
            concerned |= self._take_in(self._newest.listed(sights[first : first + _SIGHTS], before))
            await asyncio.sleep(0)
        ended = self._gone_unseen(present, asked)
        _tell_of_the_gone(ended)
        concerned |= self._take(ended)
        self._journal.add(ended)
        self._poison.keep(present)
        self._newest.forget(unseen)
        # What is still to be written stays as it is: it is written as a whole.
        self.meter.seal(asked - _SETTLED, lambda uid: uid in present or self._journal.holds(uid))
        await self._forget(asked)
        self._synced(asked)
        return concerned

    def see(self, sights: Sequence[Sight]) -> set[str]:
        """Take in sights of pods; returns the users whom they concern. They are written into the ledger meanwhile.

        A sight that is older than one that was taken in already tells nothing.
        """
        return self._take_in(self._newest.told(sights))

    def _take_in(self, sights: Sequence[Sight]) -> set[str]:
        records = [self._together(record) for record in self._records(sights)]
        for record in records:
            _tell_of(record, known=self.meter.is_open(record.user, record.uid))
        concerned = self._take(records)
        self._journal.add(records)
        self._metrics.pods_metered.set(self.meter.open_count)
        return concerned | self._on_their_way(sights)

    def _gone_unseen(self, present: Collection[str], asked: int) -> list[PodRecord]:
        """The pods that were missed in a listing, ended: by now, or by when another of their name was placed."""
        gone = [pod for pod in self.meter.open_pods() if pod.uid not in present and pod.last_seen < asked]
        if not gone:
            return []
        placed: dict[str, set[int]] = defaultdict(set)
        for pod in self.meter.known_pods():  # the next of a name may be over as well
            placed[pod.name].add(pod.scheduled)
        now = self._clock()
        return [taken_for_gone(pod, gone_by(pod, placed[pod.name], now)) for pod in gone]

    async def learn(self, kept: Sequence[PodRecord]) -> set[str]:
        """Take in what the ledger says of pods that were written: it may know more. Returns whom it concerns."""
        concerned = self._take([self._together(pod) for pod in kept])
        doubtful, self._doubtful = self._doubtful, set()
        await self._renew(doubtful)
        return concerned | {user for user in doubtful if user is not None}

    def _together(self, pod: PodRecord) -> PodRecord:
        """A pod with what is known of it already."""
        known = self.meter.known(pod.uid)
        return pod if known is None else merged(known, pod)

    def _take(self, pods: Sequence[PodRecord]) -> set[str]:
        concerned, doubtful = self.meter.take(pods)
        self._doubtful |= doubtful
        if self._meanwhile is not None:
            self._meanwhile += pods
        return concerned

    async def _renew(self, users: Collection[str | None]) -> None:
        """Read the past of these users anew: it has changed."""
        for user in users:
            since = self._clock() - self._reach
            self.meter.renew(user, await self._ledger.pods_of(self._namespace, user, since))
        if users:
            self._take([self._together(pod) for pod in self._journal.of(users)])

    async def _load(self, reach: int, listed: int) -> None:
        """Read the past anew, and go on with that. What was still there at ``listed``, ended or not, is told again."""
        self._meanwhile = []
        try:
            await self._journal.settled()
            meter = await recalled(self._ledger, self._namespace, self._clock() - reach, listed)
            meter.take_over(self.meter)
            together = [p if (k := meter.known(p.uid)) is None else merged(k, p) for p in self._meanwhile]
            _, doubtful = meter.take(together)
        finally:
            self._meanwhile = None
        self.meter, self._reach = meter, reach
        await self._renew(doubtful)

    async def _listed(self) -> list[Sight]:
        path = f"/api/v1/namespaces/{self._namespace}/pods"
        return [Sight(pod, self._clock()) async for pod in self._api.listing(path)]

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
        self._metrics.ledger_unreadable.set(self._ledger.unreadable(self._namespace))
        self._metrics.pods_metered.set(self.meter.open_count)

    def _records(self, sights: Iterable[Sight]) -> list[PodRecord]:
        return [record for sight in sights if (record := self._observed(sight)) is not None]

    def _observed(self, sight: Sight) -> PodRecord | None:
        try:
            record = observed(sight, self._cluster)
        except PoisonPod as poison:
            metadata = sight.pod["metadata"]
            if self._poison.is_news(metadata["uid"], str(poison)):
                logger.error("%s", poison)
                self._metrics.poison_pods.inc()
                self._announcer.warn(metadata["name"], metadata["uid"], NOT_METERED, str(poison))
            return None
        labels = None if record is None else self._nodes.of(record.node)
        return record if record is None or labels is None else replace(record, node_labels=labels)

    def _on_their_way_no_more(self, uids: Set[str]) -> set[str]:
        """Pods are gone that may have been on their way, and nobody told; returns to whom it matters."""
        return {user for user in self.meter.drop_all(uids) if self._counts_at_once(user)}

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


def _tell_of_the_gone(ended: Iterable[PodRecord]) -> None:
    for gone in ended:
        at = rfc3339(gone.finished or 0)
        logger.warning("pod=%s user=%s ended unseen, estimated end=%s", gone.name, gone.user, at)


def _tell_of(record: PodRecord, *, known: bool) -> None:
    if not known and record.end is None:
        logger.info("pod=%s user=%s holds since %s", record.name, record.user, rfc3339(record.scheduled))
    elif known and record.end is not None:
        logger.info("pod=%s user=%s ended %s (%s)", record.name, record.user, rfc3339(record.end.at), record.end.how)
