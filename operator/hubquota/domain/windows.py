"""The stretches of time that a quota looks back on, and how they go on from now.

All instants are integer microseconds since 1970-01-01T00:00:00Z.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

SECOND: Final = 1_000_000
HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR

_ROLLING: Final = re.compile(r"(?:([1-9][0-9]{0,2})d)?(?:([1-9][0-9]{0,3})h)?(?:([1-9][0-9]{0,4})m)?")
_SHORTEST: Final = 60 * SECOND
_LONGEST: Final = 400 * DAY
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Period(StrEnum):
    """A period of the calendar."""

    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"
    QUARTER = "Quarter"
    YEAR = "Year"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch from ``start`` to just before ``end`` over which usage is one function of time.

    ``length``: usage is what was held in the last so many microseconds. None: what was held since ``anchor``.
    ``closes``: at ``end`` usage starts anew, or the quota is over; else what comes after is not known.
    """

    start: int
    end: int
    length: int | None = None
    anchor: int = 0
    closes: bool = False


@dataclass(frozen=True, slots=True)
class Rolling:
    """The last ``length`` microseconds (S1). ``text``: as the admin wrote it, such as ``7d``.

    ``7d`` and ``168h`` are the same window, so their policies combine (S12).
    """

    length: int
    text: str = field(default="", compare=False)

    @property
    def reach(self) -> int:
        """Microseconds that it looks back at most."""
        return self.length

    def opened(self, at: int) -> int:
        """The first instant that counts at ``at``."""
        return at - self.length

    def holds_at(self, at: int) -> bool:
        """Whether it gives a quota at ``at``: always."""
        return True

    def pieces(self, now: int) -> tuple[Piece, ...]:
        """One window ahead (S20)."""
        return (Piece(now, now + self.length, length=self.length),)


@dataclass(frozen=True, slots=True)
class Calendar:
    """The current period in a time zone, from local midnight on (S2). ``sunday``: weeks begin on Sunday, not Monday."""

    period: Period
    zone: str
    sunday: bool = False

    @property
    def reach(self) -> int:
        """Microseconds that it looks back at most: the longest period, and an hour or two of shifted clocks."""
        days = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31, Period.QUARTER: 92, Period.YEAR: 366}
        return (days[self.period] + 1) * DAY

    def opened(self, at: int) -> int:
        """The beginning of the period that ``at`` lies in."""
        return next(self._beginnings(at))

    def holds_at(self, at: int) -> bool:
        """Whether it gives a quota at ``at``: always."""
        return True

    def pieces(self, now: int) -> tuple[Piece, ...]:
        """The rest of this period, and the whole next one (S20)."""
        beginnings = self._beginnings(now)
        this, following, after = next(beginnings), next(beginnings), next(beginnings)
        rest = Piece(now, following, anchor=this, closes=True)
        return rest, Piece(following, after, anchor=following, closes=True)

    def _beginnings(self, at: int) -> Iterator[int]:
        """Of the period that ``at`` lies in, and of those after it. Where clocks skip a whole day it has no period."""
        day = _first_day(self.period, _local(at, self.zone).date(), self.sunday)
        start = midnight(day, self.zone)
        while True:
            day = _next_day(self.period, day)
            following = midnight(day, self.zone)
            if following > max(at, start):
                yield start
            start = following


@dataclass(frozen=True, slots=True)
class Fixed:
    """An event's budget, from ``start`` to just before ``end`` (S3)."""

    start: int
    end: int

    @property
    def reach(self) -> int:
        """Microseconds that it looks back at most."""
        return self.end - self.start

    def opened(self, at: int) -> int:
        """The first instant that counts, whenever it is asked."""
        return self.start

    def holds_at(self, at: int) -> bool:
        """Whether it gives a quota at ``at``: before and after the event it gives none."""
        return self.start <= at < self.end

    def pieces(self, now: int) -> tuple[Piece, ...]:
        """The rest of the event."""
        return (Piece(now, self.end, anchor=self.start, closes=True),)


Window = Rolling | Calendar | Fixed


def rolling(text: str) -> Rolling:
    """A rolling window such as ``7d`` (168 h exactly, S1) or ``1d12h30m``.

    Raises ValueError, with what to write instead, for anything but NdNhNm from 1m to 400d.
    """
    match = _ROLLING.fullmatch(text) if text else None
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a window: write days, hours and minutes, such as 7d or 1d12h")
    days, hours, minutes = (int(part or 0) for part in match.groups())
    if (days and hours > 23) or ((days or hours) and minutes > 59):
        raise ValueError(f"{text!r} carries over: write hours below 24 after days, and minutes below 60 after hours")
    length = ((days * 24 + hours) * 60 + minutes) * 60 * SECOND
    if not _SHORTEST <= length <= _LONGEST:
        raise ValueError(f"{text!r} is out of range: write a window from 1m to 400d")
    return Rolling(length, text)


@lru_cache(maxsize=4096)
def midnight(day: date, zone: str) -> int:
    """The first instant of a day in a zone: local midnight, or where clocks skip it the instant of the skip."""
    naive = datetime.combine(day, time())
    at = _micros(naive.replace(tzinfo=ZoneInfo(zone)))
    if _local(at, zone).replace(tzinfo=None) == naive:
        return at
    # Clocks were put forward over midnight: the first second whose local date is this day or a later one.
    early, late = at // SECOND - 86_400, at // SECOND
    while late - early > 1:
        middle = (early + late) // 2
        early, late = (early, middle) if _local(middle * SECOND, zone).date() >= day else (middle, late)
    return late * SECOND


def _first_day(period: Period, day: date, sunday: bool) -> date:
    match period:
        case Period.DAY:
            return day
        case Period.WEEK:
            return day - timedelta(days=(day.weekday() + (1 if sunday else 0)) % 7)
        case Period.MONTH:
            return day.replace(day=1)
        case Period.QUARTER:
            return day.replace(month=day.month - (day.month - 1) % 3, day=1)
        case Period.YEAR:
            return day.replace(month=1, day=1)


def _next_day(period: Period, first: date) -> date:
    """The first day of the period after the one that begins with ``first``."""
    days = {Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31, Period.QUARTER: 93, Period.YEAR: 366}[period]
    after = first + timedelta(days=days)
    return after if period in (Period.DAY, Period.WEEK) else after.replace(day=1)


def _local(at: int, zone: str) -> datetime:
    return (_EPOCH + timedelta(microseconds=at)).astimezone(ZoneInfo(zone))


def _micros(moment: datetime) -> int:
    since = moment.astimezone(UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds
