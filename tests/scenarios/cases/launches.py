"""Launches: what one touches, when it works again, how long what is left lasts."""

from typing import Final

from tests.scenarios.vocabulary import Case, Launch, Pod, Quota, User, calendar, fixed, memory, quota

GPU: Final = {"memory": "1Gi", "nvidia.com/gpu": "1"}
SECOND: Final = 1 / 3600

#: Every other hour 2 GiB leave a window of 20 hours, where 1 comes in; in the hours between only the 1 comes in.
SWINGING: Final = (
    *(Pod("alice", -20 + 2 * i, 1, {"memory": "2Gi"}, ended="Deleted") for i in range(10)),
    Pod("alice", -1, server="long"),
)

LAUNCHES: Final = (
    Case(
        "out of GPU-hours, a server without a GPU still starts",
        ("S19", "1 extended resources", "3 touches"),
        {"gpu": quota("nvidia.com/gpu", 2, "1d", unit="GPU-hours"), "memory": memory(100)},
        (Pod("alice", -10, 3, GPU),),
        {
            "alice": User(
                "Denied",
                {"gpu": Quota(3, 2, unit="GPU-hours"), "memory": Quota(3, 100)},
                launches=(Launch(), Launch(asks=GPU, by=("gpu",), until="2026-03-30T01:00:01Z")),
            )
        },
    ),
    Case(
        "a launch touches credits only if it asks for something that has a price",
        ("S19", "S24", "1 credits", "3 touches"),
        {"credits": quota("credits", 50, "1d", prices={"nvidia.com/gpu": 30, "cpu": 0})},
        (Pod("alice", -10, 2, GPU),),
        {
            "alice": User(
                "Denied",
                {"credits": Quota(60, 50)},
                launches=(
                    Launch(asks={"memory": "4Gi", "cpu": "2"}),
                    # 10 of 60 must leave: a third of an hour.
                    Launch(asks=GPU, by=("credits",), until="2026-03-30T00:20:01Z"),
                ),
            )
        },
    ),
    Case(
        "a launch works again when nothing that it touches is used up",
        ("S20", "3 first instant", "3 launch by which quotas"),
        {"memory": memory(4, "1d"), "cpu": quota("cpu", 5, "1d")},
        (Pod("alice", -10, 5, {"memory": "1Gi", "cpu": "2"}),),
        {
            "alice": User(
                "Denied",
                {"memory": Quota(5, 4), "cpu": Quota(10, 5)},
                launches=(
                    Launch(by=("memory",), until="2026-03-30T01:00:01Z"),
                    Launch(asks={"cpu": "1"}, by=("cpu",), until="2026-03-30T02:30:01Z"),
                    Launch(asks={"cpu": "1", "memory": "1Gi"}, by=("cpu", "memory"), until="2026-03-30T02:30:01Z"),
                ),
            )
        },
    ),
    Case(
        "a quota that is open now and used up by then puts the retry off",
        ("S20", "3 first instant"),
        {"memory": memory(1, "1d"), "cpu": quota("cpu", 20, window=calendar("Day", "UTC"))},
        # Memory opens at 23:00:01; the CPU that runs on uses the day's 20 up at 22:00.
        (Pod("alice", -13, 3), Pod("alice", -8, asks={"cpu": "1"}, server="cpu")),
        {
            "alice": User(
                "Denied",
                {"memory": Quota(3, 1), "cpu": Quota(8, 20, 1, blocked=((12, 14), (34, 38)))},
                launches=(
                    Launch(server="x", by=("memory",), until="2026-03-29T23:00:01Z"),
                    Launch(server="x", asks={"cpu": "1"}),
                    Launch(
                        server="x",
                        asks={"cpu": "1", "memory": "1Gi"},
                        by=("memory",),
                        until="2026-03-30T00:00:00Z",
                        if_stopped="2026-03-29T23:00:01Z",
                    ),
                ),
            )
        },
    ),
    Case(
        "what runs may keep a quota used up: no instant is told, but the one if it stopped",
        ("S20", "3 if stopped", "3 first instant"),
        {"daily": memory(10, "1d")},
        (Pod("alice", -30),),
        {
            "alice": User(
                "Denied",
                {"daily": Quota(24, 10, 1, blocked=((0, None),), if_stopped=((0, "2026-03-30T00:00:01Z"),))},
                launches=(Launch(server="x", by=("daily",), if_stopped="2026-03-30T00:00:01Z"),),
            )
        },
    ),
    Case(
        "at most eight stretches are told",
        ("S20", "3 blocked stretches"),
        {"swinging": memory(20.5, "20h")},
        SWINGING,
        {
            "alice": User(
                "Denied",
                {
                    "swinging": Quota(
                        21,
                        20.5,
                        1,
                        blocked=(
                            (0, 0.5 + SECOND),
                            *((1.5 + 2 * i, 2.5 + 2 * i + SECOND) for i in range(7)),
                        ),
                    )
                },
                launches=(Launch(by=("swinging",), until="2026-03-29T10:30:01Z"),),
            )
        },
    ),
    Case(
        "past the eighth stretch no instant is told, for there may be a ninth",
        ("S20", "3 first instant"),
        {"swinging": memory(20.5, "20h"), "cpu": quota("cpu", 1, "1d")},
        # The CPU-hours open at 15:30:01 ahead, amid the ninth.
        (*SWINGING, Pod("alice", -9, 1, {"cpu": "2"}, ended="Deleted")),
        {
            "alice": User(
                "Denied",
                {"swinging": Quota(21, 20.5), "cpu": Quota(2, 1, blocked=((0, 15.5 + SECOND),))},
                launches=(
                    Launch(asks={"cpu": "1", "memory": "1Gi"}, server="x", by=("cpu", "swinging")),
                    Launch(asks={"cpu": "1"}, server="x", by=("cpu",), until=15.5 + SECOND),
                ),
            )
        },
    ),
    Case(
        "past the periods that are foreseen no instant is told",
        ("S20", "S2", "3 first instant"),
        {"daily": memory(20, window=calendar("Day", "UTC")), "weekly": quota("cpu", 1, "7d")},
        # The CPU-hour leaves the week in five days; today's memory and tomorrow's are foreseen.
        (Pod("alice", -30, server="long"), Pod("alice", -40, 1, {"cpu": "1"})),
        {
            "alice": User(
                "Denied",
                {"daily": Quota(10, 20, 1, blocked=((10, 14), (34, 38))), "weekly": Quota(1, 1)},
                launches=(
                    Launch(asks={"cpu": "1", "memory": "1Gi"}, server="x", by=("weekly",)),
                    Launch(asks={"cpu": "1"}, server="x", by=("weekly",), until=128 + SECOND),
                ),
            )
        },
    ),
    Case(
        "past the beginning of an event no instant is told, for its budget is not known before",
        ("S20", "S3", "3 first instant"),
        {
            "daily": memory(4, "1d"),
            "event": memory(50, window=fixed("2026-03-29T20:00:00Z", "2026-04-01T00:00:00Z")),
        },
        (Pod("alice", -10, 5), Pod("bob", -23, 5)),
        {
            # Alice's opens at 1:00:01 of the next day, when the event is on; Bob's before it.
            "alice": User("Denied", {"daily": Quota(5, 4)}, launches=(Launch(by=("daily",)),)),
            "bob": User("Denied", {"daily": Quota(5, 4)}, launches=(Launch(by=("daily",), until=2 + SECOND),)),
        },
    ),
    Case(
        "what is left lasts as long as the launch lets it",
        ("S20", "3 how long the rest lasts"),
        {"daily": memory(10, "1d")},
        # 4 are used; they leave from 4 to 8 hours ahead.
        (Pod("alice", -20, 4),),
        {
            "alice": User(
                quotas={"daily": Quota(4, 10)},
                launches=(
                    Launch(lasts=10),
                    Launch(asks={"memory": "2Gi"}, lasts=3),
                    Launch(asks={"memory": "256Mi"}, lasts=None),
                ),
            )
        },
    ),
    Case(
        "what is left lasts until the first of the quotas is used up, with what runs already",
        ("S20", "3 how long the rest lasts"),
        {"weekly": memory(30), "cpu": quota("cpu", 12, "7d")},
        (Pod("alice", -10, asks={"memory": "1Gi", "cpu": "500m"}),),
        {
            "alice": User(
                quotas={"weekly": Quota(10, 30, 1), "cpu": Quota(5, 12, 0.5)},
                launches=(
                    Launch(server="x", asks={"memory": "1Gi"}, lasts=10),
                    # 7 CPU-hours at 3.5 an hour are gone before 20 GiB-hours at 2.
                    Launch(server="x", asks={"memory": "1Gi", "cpu": "3"}, lasts=2),
                ),
            )
        },
    ),
    Case(
        "in a calendar's next period a launch that fits this one has a new budget",
        ("S20", "S2", "3 how long the rest lasts"),
        {"daily": memory(20, window=calendar("Day", "UTC"))},
        (Pod("alice", -3, 1),),
        # This day has 14 hours left; the next one is used up after 20.
        {"alice": User(quotas={"daily": Quota(1, 20)}, launches=(Launch(lasts=34),))},
    ),
    Case(
        "an excepted profile is never refused",
        ("S5", "1 exceptProfiles"),
        {"daily": memory(4, "1d", exceptProfiles=("small",))},
        (Pod("alice", -10, 5, profile="large"),),
        {
            "alice": User(
                "Denied",
                {"daily": Quota(5, 4, exceptions=("small",))},
                launches=(
                    Launch(profile="small"),
                    Launch(profile="Small", by=("daily",), until="2026-03-30T01:00:01Z"),
                    Launch(by=("daily",), until="2026-03-30T01:00:01Z"),
                ),
            )
        },
    ),
    Case(
        "what is used by an excepted profile counts all the same",
        ("S5", "1 exceptProfiles"),
        {"daily": memory(4, "1d", exceptProfiles=("small",))},
        (Pod("alice", -10, 5, profile="small"),),
        {"alice": User("Denied", {"daily": Quota(5, 4)})},
    ),
    Case(
        "Warn starts a launch and says so",
        ("S22", "1 Warn"),
        {"daily": memory(4, "1d", enforcement="Warn")},
        (Pod("alice", -10, 5),),
        {
            "alice": User(
                "Warned",
                {"daily": Quota(5, 4, enforcement="Warn", blocked=((0, "2026-03-30T01:00:01Z"),))},
                launches=(Launch(warned=("daily",)),),
            )
        },
    ),
)
