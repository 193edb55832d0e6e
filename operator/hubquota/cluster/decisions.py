"""What hooks decided: from their Events into the ledger, each once, and from there into statuses and metrics."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from hubquota.cluster.api import Json
from hubquota.domain.history import DecisionKind, DecisionRecord
from hubquota.domain.pods import micros, rfc3339
from hubquota.domain.windows import SECOND
from hubquota.ledger import Ledger
from hubquota.ledger.decisions import by_policy
from hubquota.metrics import HubMetrics
from hubquota.resources.decision import MalformedDecisionError, decision
from hubquota.resources.wording import printable

logger = logging.getLogger(__name__)

#: Decisions that may wait to be written: the refusals of an hour in a hub of thousands.
MOST: Final = 10_000
#: Of them, so many in one transaction.
_AT_ONCE: Final = 500
#: Seconds until what could not be written is tried again.
_RETRY: Final = 2
#: Seconds by which a policy's counts may be behind.
_COUNTED_AFTER: Final = 5.0
#: Whoever presses Start again and again has the status written once in so long (microseconds).
_SAME: Final = 60 * SECOND
#: Names of policies, and characters, in a status.
_NAMED: Final = 16
_LONGEST: Final = 1024

#: Is told of users and of uids of policies, each with the seconds in which their status should follow.
Follow = Callable[[Mapping[str, float], Mapping[str, float]], None]


class Decisions:
    """One hub's. ``follow`` is told whose status says something new. ``most``: that may wait; then the oldest go."""

    def __init__(self, ledger: Ledger, hub: str, metrics: HubMetrics, follow: Follow, most: int = MOST) -> None:
        self._ledger, self._hub, self._metrics = ledger, hub, metrics
        self._follow, self._most = follow, most
        self._waiting: dict[str, DecisionRecord] = {}
        self._woken = asyncio.Event()
        self._counts: Counter[tuple[str, DecisionKind]] = Counter()
        self._last: dict[str, Json] = {}
        self._malformed: set[str] = set()
        self._dropping = False

    async def start(self) -> None:
        """Take up what each policy has decided. Raises SQLAlchemyError."""
        self._counts = Counter(await self._ledger.decision_counts(self._hub))

    def refused(self, policy: str) -> int:
        """Launches that a policy refused, by its uid."""
        return self._counts[policy, DecisionKind.REFUSED]

    def would_have_refused(self, policy: str) -> int:
        """Launches that it would have refused, were it not for Observe."""
        return self._counts[policy, DecisionKind.SHADOW_REFUSED]

    def last_refusal(self, user: str) -> Json | None:
        """A user's last refusal, as a status tells it; None: none is known."""
        return self._last.get(user)

    def recall(self, user: str, told: object) -> None:
        """Take up what a status says of its user's last refusal: nobody else keeps it at hand."""
        if isinstance(told, dict) and user not in self._last and _at(told) is not None:
            self._last[user] = told

    def forget(self, user: str) -> None:
        """A user is gone."""
        self._last.pop(user, None)

    def see(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Take in Events of hooks, in any order and as often as they are told. A malformed one is set aside."""
        for event in events:
            try:
                self._add(decision(event))
            except MalformedDecisionError as fault:
                self._set_aside(event, fault)
        self._woken.set()

    def listed(self, uids: Collection[str]) -> None:
        """These are the Events that there are: of others nothing needs to be remembered."""
        self._malformed &= set(uids)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            away = False
            while self._waiting:
                try:
                    await self._write()
                except SQLAlchemyError as fault:
                    if not away:
                        words = "hub=%s decisions are not kept, tried every %s s: %s"
                        logger.warning(words, self._hub, _RETRY, _words(fault))
                    away = True
                    await asyncio.sleep(_RETRY)
            self._dropping = False

    async def _write(self) -> None:
        batch = [told for told, _ in zip(self._waiting.values(), range(_AT_ONCE), strict=False)]
        news = await self._kept(batch)
        for told in batch:
            self._waiting.pop(told.id, None)
        self._tell(batch, news)

    async def _kept(self, batch: Sequence[DecisionRecord]) -> list[DecisionRecord]:
        """Those that were not known; where the database refuses what one of them says, all but that one."""
        try:
            return await self._ledger.record_decisions(*batch)
        except (DataError, IntegrityError, UnicodeError) as fault:
            if len(batch) > 1:
                half = len(batch) // 2
                return [*await self._kept(batch[:half]), *await self._kept(batch[half:])]
            logger.error("hub=%s decision=%s is not kept, the ledger refuses it: %s", self._hub, batch[0].id, fault)
            self._metrics.decisions_malformed.inc()
            return []

    def _tell(self, batch: Sequence[DecisionRecord], news: Sequence[DecisionRecord]) -> None:
        counted = by_policy(news)
        self._counts += counted
        for told in news:
            self._metrics.decisions[told.kind].inc()
            logger.info("user=%s server=%s %s: %s", *map(printable, (told.user, told.server, told.kind, told.id)))
        # Also of those that were known: the status may not have been written when the process ended.
        refused = [told for told in batch if told.kind is DecisionKind.REFUSED]
        users = {told.user: delay for told in refused if (delay := self._noted(told)) is not None}
        shown = (DecisionKind.REFUSED, DecisionKind.SHADOW_REFUSED)
        self._follow(users, {uid: _COUNTED_AFTER for uid, kind in counted if kind in shown})

    def _noted(self, told: DecisionRecord) -> float | None:
        """Keep a refusal as its user's last; seconds in which their status should say so, None: it need not."""
        before, now = self._last.get(told.user), last_refusal(told)
        was = None if before is None else _at(before)
        if was is not None and was >= told.at:
            return None
        self._last[told.user] = now
        same = before is not None and all(before.get(name) == now.get(name) for name in ("server", "policies"))
        return _SAME / SECOND if same and was is not None and told.at - was < _SAME else 0

    def _add(self, told: DecisionRecord) -> None:
        if told.id not in self._waiting and len(self._waiting) >= self._most:
            del self._waiting[next(iter(self._waiting))]
            self._metrics.decisions_dropped.inc()
            if not self._dropping:
                self._dropping = True
                logger.error("hub=%s %s decisions wait to be kept: the oldest are dropped", self._hub, self._most)
        self._waiting.setdefault(told.id, told)

    def _set_aside(self, event: Mapping[str, Any], why: MalformedDecisionError) -> None:
        metadata = event["metadata"]
        if metadata["uid"] not in self._malformed:
            self._malformed.add(metadata["uid"])
            self._metrics.decisions_malformed.inc()
            logger.warning("hub=%s event=%s tells no decision: %s", self._hub, metadata["name"], why)


def last_refusal(told: DecisionRecord) -> Json:
    """A refusal as a status tells it."""
    names = sorted({quota.policy for quota in told.quotas})
    shown: Json = {"at": rfc3339(told.at), "server": told.server, "policies": names[:_NAMED]}
    return shown | {"reason": printable(told.message)[:_LONGEST]}


def _at(told: Mapping[str, Any]) -> int | None:
    try:
        return micros(told["at"])
    except (KeyError, TypeError, ValueError):
        return None


def _words(fault: Exception) -> str:
    told = getattr(fault, "orig", None) or fault
    return (str(told).strip() or type(told).__name__).splitlines()[0]
