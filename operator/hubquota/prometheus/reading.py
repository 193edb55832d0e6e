"""The history of one hub, read from Prometheus piece by piece, each pod told once and whole."""

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass, field
from typing import Final

from hubquota.domain.history import PodEnd, PodRecord
from hubquota.prometheus.errors import PrometheusError, TooMuch
from hubquota.prometheus.lives import Life
from hubquota.prometheus.questions import Questions, Span
from hubquota.prometheus.resources import Resources
from hubquota.prometheus.scrapes import Scrapes, Stretch, times, widened
from hubquota.prometheus.sightings import Sighting
from hubquota.prometheus.slugs import Users
from hubquota.resources.wording import printable

SECOND: Final = 1_000_000
_HOUR: Final = 3600 * SECOND
#: How much is asked for at a time: so much, or less where Prometheus has that too much to do.
_PIECE: Final = 6 * _HOUR
_LEAST: Final = 5 * 60 * SECOND
#: More than lies between two scrapes, so that a pod that was there at the end of an earlier reading is seen again.
_OVERLAP: Final = _HOUR // 2
#: How closely scrapes themselves are looked for: nobody scrapes kube-state-metrics more often.
_CLOSE: Final = 10 * SECOND
#: No instant is looked at further from the next than Prometheus looks back.
_WIDE: Final = 120 * SECOND
#: Of what Prometheus answers for one series at once (11,000), with room to spare.
_POINTS: Final = 10_000
_MISSING: Final = "{} is not there: let Prometheus keep it, or name it in prometheus_names; {}"
_NO_INFO: Final = _MISSING.format("kube_pod_info", "without it nothing tells whether a pod is placed")
_NO_PHASES: Final = _MISSING.format("kube_pod_status_phase", "without it a finished pod looks like one that runs")


@dataclass(slots=True)
class LeftOut:
    """What was seen and could not be taken.

    ``nameless``: pods without uid. ``mute``: of no pod annotations or labels were told; ``idle``: of none what it asks
    for. ``nobodys``: pods that say not whose they are. ``poison``: by uid, what is wrong with pods that make no sense.
    """

    nameless: bool = False
    mute: bool = False
    idle: bool = False
    nobodys: int = 0
    labels: set[str] = field(default_factory=set)
    poison: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Piece:
    """What is known after one more stretch of time, up to ``end``.

    ``pods``: those of which no more will be heard. ``seen``: all for which Prometheus spoke so far and whose pods have
    all been told; a later reading can begin at its end.
    """

    end: int
    pods: list[PodRecord]
    seen: list[Stretch]


class Reading:
    """Reads one hub from ``since`` on; of pods placed before ``until``, all of their lives (microseconds)."""

    def __init__(
        self, questions: Questions, hub: str, cluster: str, resources: Resources, users: Users, gap: int
    ) -> None:
        self._questions, self._hub, self._cluster = questions, hub, cluster
        self._resources, self._users = resources, users
        self._lives: dict[str, Life] = {}
        self._over: set[str] = set()
        self._piece = _PIECE
        self.scrapes = Scrapes(gap)
        self.left_out = LeftOut()

    @property
    def unknown_resources(self) -> set[str]:
        """What pods asked for and nobody can name."""
        return self._resources.unknown

    async def _begins(self, since: int, until: int) -> int | None:
        """Since when Prometheus has something of that time, within an hour; None: nothing. Raises PrometheusError."""
        step = max(_HOUR, -(-(until - since) // _POINTS // SECOND) * SECOND)
        found = await self._questions.oldest(min(since + step, until), until, step)
        found = await self._questions.oldest(until, until, step) if found is None else found
        return None if found is None else max(since, found - step)

    async def pieces(self, since: int, until: int, now: int) -> AsyncGenerator[Piece]:
        """All that is known, one piece after the other; none where nothing is.

        It begins a little before ``since``, so that pods which were there at an earlier reading's end are seen again,
        and goes on after ``until`` as long as pods live that were placed before it, at most to ``now``. Raises
        PrometheusError.
        """
        begins = await self._begins(since, until)
        if begins is None:
            return
        at, ended_before = begins - _OVERLAP, since - _OVERLAP
        while at < until or (at < now and self._ours()):
            end = min(at + self._piece, until if at < until else now)
            try:
                scraped = await self._look(at, end, until)
            except TooMuch:
                self._piece = (end - at) // 2
                if self._piece < _LEAST:
                    raise
                continue
            pods = self._told(ended_before, final=False)
            yield Piece(end, pods, _before(self._seen(since, min(end, until)), self._unfinished()))
            if at >= until and not scraped:
                break
            self.scrapes.forget(at - 2 * self.scrapes.bound)
            at = end if scraped or end >= until else await self._next(end, until)
            self._piece = min(2 * self._piece, _PIECE)
        yield Piece(max(at, until), self._told(ended_before, final=True), self._seen(since, until))

    def _seen(self, since: int, until: int) -> list[Stretch]:
        return widened(self.scrapes.seen, (since, until), self.scrapes.bound)

    async def _next(self, at: int, until: int) -> int:
        """Where it goes on after a hole, which may be months long."""
        found = await self._begins(at, until)
        return until if found is None else found

    async def _look(self, start: int, end: int, until: int) -> bool:
        """Take in one stretch of time; whether there was a scrape.

        Raises PrometheusError; TooMuch, with nothing taken in.
        """
        scraped = await self._questions.scrapes(Span(start, end, _CLOSE))
        if not any(at >= start for series in scraped for at in times(series)):
            return False
        self.scrapes.measure(scraped)
        step = max(SECOND, min(self.scrapes.shortest // 2, _WIDE))
        seen, nameless = await self._questions.sightings(Span(start, end, step))
        placed = {uid: s for uid, s in seen.items() if s.last is not None and (s.last >= start or uid in self._lives)}
        _checked(seen.values(), placed.values())
        changes = {uid: await self._questions.changes(uid, start, end) for uid in self._resized(placed)}
        speaks = await self._speaks(seen.values(), end) and not nameless
        self.left_out.nameless |= nameless
        # Prometheus looks at multiples of the step alone.
        self.scrapes.take(scraped, end - step, speaks=speaks)
        self._over &= placed.keys()
        for uid in placed.keys() - self._over:
            life = self._known(placed[uid])
            life.see(placed[uid], changes.get(uid, []))
            if life.start < until:
                self._lives[uid] = life
        return True

    async def _speaks(self, seen: Collection[Sighting], at: int) -> bool:
        """Whether what has to be known of pods was told of any, where there were some."""
        mute = bool(seen) and not any(s.told for s in seen)
        idle = bool(seen) and not any(s.asks for s in seen) and not await self._questions.tells_requests(at)
        self.left_out.mute |= mute
        self.left_out.idle |= idle
        return not mute and not idle

    def _resized(self, placed: dict[str, Sighting]) -> list[str]:
        """Pods whose asking has changed: of these, and of them alone, every sample is looked at."""
        lives = {uid: self._known(s) for uid, s in placed.items() if uid not in self._over}
        return [uid for uid, life in lives.items() if life.has_resized(placed[uid]) and life.is_somebodys(placed[uid])]

    def _known(self, seen: Sighting) -> Life:
        return self._lives.get(seen.uid) or Life(seen)

    def _told(self, ended_before: int, *, final: bool) -> list[PodRecord]:
        """The records of pods of which no more will be heard; they are let go of, and those too that ended before."""
        found = []
        for uid, life in list(self._lives.items()):
            end = life.end(self.scrapes, final=final)
            if end is None and not final:
                continue
            del self._lives[uid]
            if life.finished:
                self._over.add(uid)  # its object may linger for days
            if end is None or end.at >= ended_before:
                found += self._recorded(uid, life, end)
        return found

    def _recorded(self, uid: str, life: Life, end: PodEnd | None) -> list[PodRecord]:
        marks = life.marks(self._users)
        if not marks:
            self.left_out.nobodys += 1
            self.left_out.labels |= {life.unread_label} - {""}
            return []
        try:
            pod = life.record(self._hub, self._cluster, marks, self._resources, end)
        except (ValueError, TypeError) as fault:
            self.left_out.poison[uid] = printable(str(fault))
            return []
        if pod.user is not None:
            self._users.know(pod.user)
        return [pod]

    def _ours(self) -> list[Life]:
        return [life for life in self._lives.values() if life.marks(self._users)]

    def _unfinished(self) -> int | None:
        """Since when a pod has been there of which more will be heard; None: there is none."""
        return min((life.first for life in self._ours()), default=None)


def _before(seen: list[Stretch], at: int | None) -> list[Stretch]:
    return seen if at is None else [(start, min(end, at)) for start, end in seen if start < at]


def _checked(seen: Collection[Sighting], placed: Collection[Sighting]) -> None:
    """Raises PrometheusError where that is missing without which pods would be made up, or overlooked."""
    if any(s.alive or s.finished for s in seen) and not any(s.listed for s in seen):
        raise PrometheusError(_NO_INFO)
    if placed and not any(s.alive or s.finished for s in placed):
        raise PrometheusError(_NO_PHASES)
