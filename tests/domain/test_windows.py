"""A window opens where people say that it does: to the second, in every zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.domain.pods import micros, rfc3339
from hubquota.domain.windows import DAY, HOUR, SECOND, Calendar, Fixed, Period, midnight, rolling

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "Asia/Beirut",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Chatham",
)


@pytest.mark.parametrize(("text", "hours"), [("7d", 168), ("1d12h", 36), ("60m", 1), ("400d", 9600)])
def test_a_rolling_window_is_exact(text: str, hours: int) -> None:
    window = rolling(text)
    assert (window.length, window.opened(1000 * HOUR)) == (hours * HOUR, (1000 - hours) * HOUR)


@pytest.mark.parametrize(
    "text", ["", "7", "0m", "401d", "1h1d", "-1d", "1.5d", "7D", "1w", "٣d", "1d24h", "1h60m", "07d", "9600h1m"]
)
def test_a_wrong_window_is_told_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="write"):
        rolling(text)


@pytest.mark.parametrize(
    ("period", "zone", "at", "opened"),
    [
        (Period.DAY, "Europe/Berlin", "2026-03-01T12:00:00Z", "2026-02-28T23:00:00Z"),
        (Period.DAY, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z"),
        (Period.DAY, "Europe/Berlin", "2026-03-30T12:00:00Z", "2026-03-29T22:00:00Z"),
        (Period.DAY, "Europe/Berlin", "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z"),
        (Period.DAY, "Europe/Berlin", "2026-10-25T23:00:00Z", "2026-10-25T23:00:00Z"),
        (Period.DAY, "Asia/Kathmandu", "2026-03-01T00:00:00Z", "2026-02-28T18:15:00Z"),
        (Period.WEEK, "UTC", "2026-03-01T12:00:00Z", "2026-02-23T00:00:00Z"),
        (Period.MONTH, "America/New_York", "2026-03-31T23:00:00Z", "2026-03-01T05:00:00Z"),
        (Period.QUARTER, "UTC", "2026-06-30T23:59:59Z", "2026-04-01T00:00:00Z"),
        (Period.QUARTER, "UTC", "2026-12-31T00:00:00Z", "2026-10-01T00:00:00Z"),
        (Period.YEAR, "Pacific/Apia", "2026-01-01T00:00:00Z", "2025-12-31T11:00:00Z"),
        # Clocks go from 23:59:59 to 01:00:00: the day begins with the skip.
        (Period.DAY, "Asia/Beirut", "2026-03-29T12:00:00Z", "2026-03-28T22:00:00Z"),
        # Clocks went from 00:59:59 back to 00:00:00: the day begins at the first of its two midnights.
        (Period.DAY, "America/Havana", "2026-11-01T12:00:00Z", "2026-11-01T04:00:00Z"),
        # Clocks went from 00:00:59 back to 23:01:00 of the day before; the day had begun.
        (Period.DAY, "America/St_Johns", "2010-11-07T03:00:00Z", "2010-11-07T02:30:00Z"),
        # A day that was left out altogether.
        (Period.DAY, "Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z"),
    ],
)
def test_a_period_begins_at_local_midnight(period: Period, zone: str, at: str, opened: str) -> None:
    assert rfc3339(Calendar(period, zone).opened(micros(at))) == opened


def test_a_week_begins_on_monday_unless_sunday_is_written() -> None:
    saturday = micros("2026-03-07T12:00:00Z")
    assert rfc3339(Calendar(Period.WEEK, "UTC").opened(saturday)) == "2026-03-02T00:00:00Z"
    assert rfc3339(Calendar(Period.WEEK, "UTC", sunday=True).opened(saturday)) == "2026-03-01T00:00:00Z"


def period_of(period: Period, zone: str, at: int, sunday: bool) -> tuple[int, ...]:
    """Which period an instant lies in, by the date on the wall."""
    day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)).astimezone(ZoneInfo(zone)).date()
    year, week, _ = (day + timedelta(days=1 if sunday else 0)).isocalendar()
    return {
        Period.DAY: (day.toordinal(),),
        Period.WEEK: (year, week),
        Period.MONTH: (day.year, day.month),
        Period.QUARTER: (day.year, (day.month - 1) // 3),
        Period.YEAR: (day.year,),
    }[period]


@given(
    st.sampled_from(Period),
    st.sampled_from(ZONES),
    st.integers(946_684_800, 2_208_988_800),
    st.booleans(),
)
def test_a_period_is_all_instants_of_one_stretch_of_dates(period: Period, zone: str, at: int, sunday: bool) -> None:
    window, now = Calendar(period, zone, sunday), at * SECOND
    rest, following = window.pieces(now)
    this = period_of(period, zone, now, sunday)
    assert rest.anchor <= now < rest.end == following.start == following.anchor
    assert period_of(period, zone, rest.anchor, sunday) == this
    assert period_of(period, zone, rest.anchor - SECOND, sunday) != this
    assert period_of(period, zone, rest.end - SECOND, sunday) == this
    assert period_of(period, zone, rest.end, sunday) == period_of(period, zone, following.end - SECOND, sunday) != this
    assert now - rest.anchor <= window.reach


@given(st.sampled_from(ZONES), st.dates(date(1990, 1, 1), date(2037, 1, 1)))
def test_midnight_is_the_first_instant_of_its_day(zone: str, day: date) -> None:
    at = midnight(day, zone)
    assert period_of(Period.DAY, zone, at, False)[0] >= day.toordinal()
    assert period_of(Period.DAY, zone, at - SECOND, False)[0] < day.toordinal()


def test_an_event_gives_a_quota_from_its_start_to_just_before_its_end() -> None:
    event = Fixed(DAY, 2 * DAY)
    assert [event.holds_at(at) for at in (DAY - 1, DAY, 2 * DAY - 1, 2 * DAY)] == [False, True, True, False]
