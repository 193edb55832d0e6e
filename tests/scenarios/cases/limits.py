"""Limits: when they are reached, 0 and unlimited, and amounts to the last digit."""

from typing import Final

from tests.scenarios.vocabulary import Case, Launch, Pod, Quota, Told, User, calendar, fixed, memory, quota

#: The first whole second at which the first second of a pod of 4 hours, placed 10 hours ago, has left a day's window.
FREE: Final = "2026-03-30T00:00:01Z"

LIMITS: Final = (
    Case(
        "used up is usage that has reached the limit, up to the first whole second below it",
        ("S4", "1 Deny", "2 exact integers", "3 first instant"),
        {"daily": memory(4, "1d")},
        (Pod("alice", -10, 4),),
        {
            "alice": User(
                "Denied",
                {"daily": Quota(4, 4, 0, blocked=((0, FREE),), if_stopped=((0, FREE),), base=4, held=0)},
                launches=(Launch(by=("daily",), until=FREE, if_stopped=FREE),),
                says=f"memory: 4 of 4 GiB-hours in 1d, used up until {FREE}",
            )
        },
    ),
    Case(
        "a byte below the limit is below the limit, and reads so",
        ("S4", "2 exact integers", "2 formatting"),
        {"daily": memory(1, "1d")},
        (Pod("alice", -10, 1, {"memory": "1073741823"}),),
        {"alice": User(quotas={"daily": Quota("0.999999", 1, blocked=())}, launches=(Launch(),), says="0.99 of 1 ")},
    ),
    Case(
        "the end of a stretch that falls within a second is told as the next whole one",
        ("S4", "S20", "2 exact integers"),
        {"daily": memory(20, "1d")},
        # 28 by 7 GiB: 8 must leave, which takes 8/7 of an hour, 4114.29 s.
        (Pod("alice", -10, 4, {"memory": "7Gi"}),),
        {
            "alice": User(
                "Denied",
                {"daily": Quota(28, 20, blocked=((0, "2026-03-30T01:08:35Z"),))},
                launches=(Launch(by=("daily",), until="2026-03-30T01:08:35Z"),),
            )
        },
    ),
    Case(
        "a limit of 0 is used up at every instant, also for somebody who has used nothing",
        ("S5", "1 limit 0"),
        {"none": memory(0)},
        (Pod("alice", -10, 4),),
        {
            "alice": User(
                "Denied",
                {"none": Quota(4, 0, blocked=((0, None),), if_stopped=((0, None),))},
                launches=(Launch(by=("none",), if_stopped=None),),
            ),
            "newcomer": User("Denied", {"none": Quota(0, 0)}, launches=(Launch(by=("none",)),)),
        },
    ),
    Case(
        "a limit of 0 wins over every combination, Override included",
        ("S5", "S13", "1 limit 0", "1 Override", "1 unlimited"),
        {
            "none": memory(0, groups=("banned",), combine="Max"),
            "plenty": memory(1000, combine="Max"),
            "vip": memory(None, users=("alice",), combine="Override"),
        },
        (Pod("alice", -1), Pod("bob", -1)),
        {
            "alice": User("Denied", {"none": Quota(1, 0, policies=("none", "plenty", "vip"), group="banned")}),
            "bob": User(quotas={"plenty": Quota(1, 1000, policies=("plenty",))}),
        },
        members={"alice": ("banned",)},
    ),
    Case(
        "a limit of 0 is not open again when the period ends",
        ("S5", "S20", "1 limit 0"),
        {"none": memory(0, window=calendar("Day", "UTC"))},
        (Pod("alice", -1),),
        {"alice": User("Denied", {"none": Quota(1, 0, blocked=((0, None),))}, launches=(Launch(by=("none",)),))},
    ),
    Case(
        "a limit of 0 for an event ends with the event",
        ("S5", "S3", "1 limit 0", "1 fixed"),
        {"exam": memory(0, window=fixed("2026-03-29T08:00:00Z", "2026-03-29T12:00:00Z"))},
        (Pod("alice", -5),),
        {"alice": User("Denied", {"exam": Quota(2, 0, blocked=((0, 2),))}, launches=(Launch(by=("exam",), until=2),))},
    ),
    Case(
        "a limit of 0 of one resource leaves launches that ask for none of it alone",
        ("S5", "S19", "1 limit 0", "3 touches"),
        {"no-gpus": quota("nvidia.com/gpu", 0, unit="GPU-hours")},
        (Pod("alice", -5),),
        {
            "alice": User(
                "Denied",
                {"no-gpus": Quota(0, 0)},
                launches=(Launch(), Launch(asks={"memory": "1Gi", "nvidia.com/gpu": "1"}, by=("no-gpus",))),
            )
        },
    ),
    Case(
        "a limit of 0 that only warns lets a launch start",
        ("S5", "S22", "1 limit 0", "1 Warn"),
        {"none": memory(0, enforcement="Warn")},
        (Pod("alice", -5),),
        {"alice": User("Warned", {"none": Quota(5, 0, enforcement="Warn")}, launches=(Launch(warned=("none",)),))},
    ),
    Case(
        "unlimited lifts what the others would refuse",
        ("S13", "1 unlimited", "1 Override"),
        {"weekly": memory(1), "vip": memory(None, users=("alice",), combine="Override")},
        (Pod("alice", -5), Pod("bob", -5)),
        {
            "alice": User(launches=(Launch(),), says="no limit"),
            "bob": User("Denied", {"weekly": Quota(5, 1)}, launches=(Launch(by=("weekly",)),)),
        },
    ),
    Case(
        "MiB-hours, GiB-hours and TiB-hours are of one size each",
        ("1 memory", "2 formatting"),
        {
            "mib": memory(2048, "1d", unit="MiB-hours"),
            "gib": memory(3, "2d"),
            "tib": memory(0.001, "3d", unit="TiB-hours"),
        },
        (Pod("alice", -10, 2),),
        {
            "alice": User(
                "Denied",
                {
                    "mib": Quota(2048, 2048, unit="MiB-hours"),
                    "gib": Quota(2, 3, unit="GiB-hours"),
                    "tib": Quota("0.001953", "0.001", unit="TiB-hours"),
                },
                says="memory: 2,048 of 2,048 MiB-hours in 1d",
            )
        },
    ),
    Case(
        "500 GiB-hours do not read as none of a TiB-hour",
        ("2 formatting",),
        {"tib": memory(10, "1d", unit="TiB-hours")},
        (Pod("alice", -10, 5, {"memory": "10Gi"}),),
        {"alice": User(quotas={"tib": Quota("0.048828", 10)}, says="memory: 0.048828 of 10 TiB-hours in 1d")},
    ),
    Case(
        "1G is not 1Gi, and a decimal exponent is one",
        ("2 quantities", "2 exact integers"),
        {"weekly": memory(100)},
        (Pod("alice", -10, 1, {"memory": "1G"}), Pod("bob", -10, 1, {"memory": "1e9"}), Pod("carol", -10, 1)),
        {
            "alice": User(quotas={"weekly": Quota("0.931322", 100)}),
            "bob": User(quotas={"weekly": Quota("0.931322", 100)}),
            "carol": User(quotas={"weekly": Quota(1, 100)}),
        },
    ),
    Case(
        "thousandths and millions of a CPU are read as Kubernetes reads them",
        ("2 quantities", "1 cpu"),
        {"cpu": quota("cpu", 5_000_000)},
        (
            Pod("alice", -10, 2, {"cpu": "1500m"}),
            Pod("bob", -10, 1, {"cpu": "2M"}),
            Pod("carol", -10, 1, {"cpu": ".5"}),
        ),
        {
            "alice": User(quotas={"cpu": Quota(3, 5_000_000, unit="CPU-hours")}),
            "bob": User(quotas={"cpu": Quota(2_000_000, 5_000_000)}),
            "carol": User(quotas={"cpu": Quota(0.5, 5_000_000)}),
        },
    ),
    Case(
        "from warnAt on a user counts as near the end",
        ("1 conditions", "7 material change"),
        {"daily": memory(10, "1d", warnAt=50)},
        (Pod("alice", -10, 5), Pod("bob", -10, 4), Pod("carol", -12, 11)),
        {
            "alice": User(quotas={"daily": Quota(5, 10, warn_at=50)}),
            "bob": User(quotas={"daily": Quota(4, 10)}),
            "carol": User("Denied", {"daily": Quota(11, 10)}),
        },
        told={"daily": Told(users=3, near=1, exhausted=1)},
    ),
    Case(
        "nothing is granted or set aside yet beside what policies say",
        ("1 adjustments and holds",),
        {"daily": memory(10, "1d")},
        (Pod("alice", -10, 5),),
        {"alice": User(quotas={"daily": Quota(5, 10, base=10, held=0)})},
    ),
)
