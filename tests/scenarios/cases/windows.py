"""Windows: how far back a quota looks, and when it begins anew."""

from typing import Final

from tests.scenarios.vocabulary import AUTUMN, Case, Launch, Pod, Quota, User, calendar, fixed, memory

WINDOWS: Final = (
    Case(
        "a rolling week is 168 hours exactly, also where one of its days has 23",
        ("S1", "1 rolling", "1 DST", "1 memory"),
        {"weekly": memory(100)},
        (Pod("alice", -170, 4),),
        {"alice": User(quotas={"weekly": Quota(2, 100, covered=-168, blocked=())})},
    ),
    Case(
        "a rolling window may be of hours and minutes",
        ("S1", "S4", "1 rolling", "3 if stopped"),
        {"short": memory(2, "1h30m")},
        (Pod("alice", -3, asks={"memory": "2Gi"}),),
        {
            "alice": User(
                "Denied",
                # With 2 GiB stopped now, 2 GiB-hours are left in an hour and a half after half an hour.
                {"short": Quota(3, 2, 2, blocked=((0, None),), if_stopped=((0, "2026-03-29T10:30:01Z"),))},
                launches=(Launch(by=("short",), if_stopped="2026-03-29T10:30:01Z"),),
            )
        },
    ),
    Case(
        "the shortest window is a minute, the longest 400 days",
        ("S1", "1 rolling"),
        {"minute": memory(0.01, "1m"), "long": memory(1000, "400d")},
        (Pod("alice", -399 * 24, 3, ended="Deleted"), Pod("alice", -1)),
        {
            "alice": User(
                "Denied", {"minute": Quota("0.016666", "0.01", 1, blocked=((0, None),)), "long": Quota(4, 1000, 1)}
            )
        },
    ),
    Case(
        "a calendar day of Berlin has 23 hours when clocks go forward",
        ("S2", "S20", "1 calendar", "1 DST", "1 time zones", "3 blocked stretches"),
        {"daily": memory(20, window=calendar("Day", "Europe/Berlin"))},
        (Pod("alice", -13),),
        {
            "alice": User(
                # Since midnight, 11 hours ago; the day ends in 12, the next one has 24.
                quotas={"daily": Quota(11, 20, 1, covered=-11, blocked=((9, 12), (32, 36)), if_stopped=())},
                says="used up from 2026-03-29T19:00:00Z if all keeps running",
            )
        },
    ),
    Case(
        "a calendar day of New York has 25 hours when clocks go back",
        ("S2", "1 calendar", "1 DST"),
        {"daily": memory(24.75, window=calendar("Day", "America/New_York"))},
        (Pod("alice", -30),),
        {"alice": User(quotas={"daily": Quota(24.5, 24.75, covered=-24.5, blocked=((0.25, 0.5),))})},
        now=AUTUMN,
    ),
    Case(
        "a day of 24 rolling hours has 24 also in a day of 25",
        ("S1", "1 rolling", "1 DST"),
        {"day": memory(100, "1d"), "month": memory(100, window=calendar("Month", "America/New_York"))},
        (Pod("alice", -30),),
        # November began with the Sunday, 24 and a half hours ago.
        {"alice": User(quotas={"day": Quota(24, 100), "month": Quota(24.5, 100, covered="2026-11-01T04:00:00Z")})},
        now=AUTUMN,
    ),
    Case(
        "a week in which clocks go forward has 167 hours",
        ("S2", "1 calendar", "1 DST", "3 blocked stretches"),
        {"weekly": memory(160, window=calendar("Week", "Europe/Berlin"))},
        (Pod("alice", -200),),
        {"alice": User(quotas={"weekly": Quota(155, 160, 1, blocked=((5, 12), (172, 180)), if_stopped=())})},
    ),
    Case(
        "where clocks skip midnight, the day begins at the skip",
        ("S2", "1 calendar", "1 DST"),
        {"daily": memory(20, window=calendar("Day", "Asia/Beirut"))},
        (Pod("alice", -13),),
        {"alice": User(quotas={"daily": Quota(12, 20, blocked=((8, 11), (31, 35)))})},
    ),
    Case(
        "midnight is local also where a zone is off by half an hour",
        ("S2", "1 time zones"),
        {"daily": memory(20, window=calendar("Day", "Asia/Kolkata"))},
        (Pod("alice", -16),),
        {"alice": User(quotas={"daily": Quota(15.5, 20, blocked=((4.5, 8.5), (28.5, 32.5)))})},
    ),
    Case(
        "a week begins on Monday",
        ("S2", "1 calendar"),
        {"weekly": memory(2, window=calendar("Week", "Europe/Berlin"))},
        (Pod("alice", "2026-03-22T22:00:00Z", 3),),
        {
            "alice": User(
                "Denied",
                {"weekly": Quota(2, 2, covered="2026-03-22T23:00:00Z", blocked=((0, "2026-03-29T22:00:00Z"),))},
                launches=(Launch(by=("weekly",), until="2026-03-29T22:00:00Z"),),
            )
        },
    ),
    Case(
        "a week begins on Sunday if the policy says so",
        ("S2", "1 calendar"),
        {"weekly": memory(100, window=calendar("Week", "Europe/Berlin", weekStart="Sunday"))},
        (Pod("alice", "2026-03-22T22:00:00Z", 3), Pod("alice", -12, 3)),
        {"alice": User(quotas={"weekly": Quota(2, 100, covered=-11)})},
    ),
    Case(
        "a month is open again at its end, by the clocks of then",
        ("S2", "1 calendar", "1 DST", "3 first instant"),
        {"monthly": memory(2, window=calendar("Month", "Europe/Berlin"))},
        (Pod("alice", "2026-02-28T22:00:00Z", 3),),
        {
            "alice": User(
                "Denied",
                {"monthly": Quota(2, 2, blocked=((0, "2026-03-31T22:00:00Z"),))},
                launches=(Launch(by=("monthly",), until="2026-03-31T22:00:00Z"),),
                says="used up until 2026-03-31T22:00:00Z",
            )
        },
    ),
    Case(
        "a quarter and a year begin at local midnight of their first day",
        ("S2", "1 calendar", "1 time zones"),
        {
            "quarterly": memory(2, window=calendar("Quarter", "Europe/Berlin")),
            "yearly": memory(2, window=calendar("Year", "Europe/Berlin")),
            "yearly-utc": memory(2, window=calendar("Year", "UTC")),
        },
        (Pod("alice", "2025-12-31T22:00:00Z", 3),),
        {
            "alice": User(
                "Denied",
                {
                    "quarterly": Quota(2, 2, blocked=((0, "2026-03-31T22:00:00Z"),)),
                    "yearly": Quota(2, 2, blocked=((0, "2026-12-31T23:00:00Z"),)),
                    "yearly-utc": Quota(1, 2, blocked=()),
                },
            )
        },
    ),
    Case(
        "the same month in two zones is two months",
        ("S2", "S12", "1 time zones"),
        {
            "tokyo": memory(100, window=calendar("Month", "Asia/Tokyo")),
            "los-angeles": memory(100, window=calendar("Month", "America/Los_Angeles")),
        },
        # Midnight of 1 March is at 15:00 UTC of the day before in Tokyo, at 8:00 UTC in Los Angeles.
        (Pod("alice", "2026-02-28T14:00:00Z", 24),),
        {"alice": User(quotas={"tokyo": Quota(23, 100), "los-angeles": Quota(6, 100)})},
    ),
    Case(
        "before an event its policy gives no quota",
        ("S3", "1 fixed"),
        {"event": memory(0.5, window=fixed("2026-03-29T10:00:01Z", "2026-03-30T00:00:00Z"))},
        (Pod("alice", -5),),
        {"alice": User(launches=(Launch(),))},
    ),
    Case(
        "an event's budget counts from its start, and a block ends at its end",
        ("S3", "S20", "1 fixed", "3 first instant"),
        {"event": memory(10, window=fixed("2026-03-29T00:00:00Z", "2026-03-29T12:00:00Z"))},
        (Pod("alice", -20),),
        {
            "alice": User(
                "Denied",
                {"event": Quota(10, 10, 1, covered=-10, blocked=((0, 2),), if_stopped=((0, 2),))},
                launches=(Launch(by=("event",), until=2),),
            )
        },
    ),
    Case(
        "at its end an event is over, and covers nobody any more",
        ("S3", "S8", "1 fixed", "1 fallback"),
        {
            "event": memory(1, window=fixed("2026-03-29T00:00:00Z", "2026-03-29T10:00:00Z")),
            "rest": memory(50, fallback=True),
        },
        (Pod("alice", -5),),
        {"alice": User(quotas={"rest": Quota(5, 50)})},
    ),
    Case(
        "during an event its policy covers, and leaves nothing to a fallback",
        ("S3", "S8", "1 fixed", "1 fallback"),
        {
            "event": memory(10, window=fixed("2026-03-29T06:00:00+02:00", "2026-03-30T00:00:00Z")),
            "rest": memory(50, fallback=True),
        },
        (Pod("alice", -7),),
        {"alice": User(quotas={"event": Quota(6, 10, blocked=((4, 14),))})},
    ),
    Case(
        "after an event its pool is no pool",
        ("S3", "S18", "1 fixed", "1 Shared"),
        {"event": memory(1, window=fixed("2026-03-29T00:00:00Z", "2026-03-29T09:00:00Z"), sharing="Shared")},
        (Pod("alice", -5),),
        {"alice": User(launches=(Launch(),))},
        {"event": None},
    ),
)
