"""Combining: what several policies come to for one user."""

from typing import Final

from tests.scenarios.vocabulary import Case, Launch, Pod, Quota, Then, Told, User, Write, calendar, fixed, memory, quota

FIVE: Final = (Pod("alice", -10, 5),)

COMBINING: Final = (
    Case(
        "without combine the smallest limit holds",
        ("S12", "S13", "1 Min"),
        {"ten": memory(10), "twenty": memory(20, combine="Min")},
        FIVE,
        {"alice": User(quotas={"ten": Quota(5, 10, policies=("ten", "twenty"))})},
        told={"ten": Told({"Conflict": None}), "twenty": Told({"Conflict": None, "Ineffective": "Outranked"})},
    ),
    Case(
        "Max: the largest limit holds",
        ("S13", "1 Max"),
        {"four": memory(4, combine="Max"), "twenty": memory(20, combine="Max")},
        FIVE,
        {"alice": User(quotas={"twenty": Quota(5, 20, policies=("twenty", "four"))}, launches=(Launch(),))},
    ),
    Case(
        "Sum: the limits add up",
        ("S13", "1 Sum"),
        {"four": memory(4, combine="Sum"), "more": memory(1.5, combine="Sum", users=("alice",))},
        (*FIVE, Pod("bob", -10, 5)),
        {
            "alice": User(quotas={"four": Quota(5, 5.5, policies=("four", "more"))}),
            "bob": User("Denied", {"four": Quota(5, 4, policies=("four",))}),
        },
    ),
    Case(
        "Override alone holds for its users, and of several the largest",
        ("S13", "1 Override"),
        {
            "all": memory(1),
            "course": memory(30, groups=("course",), combine="Override"),
            "project": memory(40, groups=("project",), combine="Override"),
        },
        (*FIVE, Pod("bob", -10, 5)),
        {
            "alice": User(quotas={"project": Quota(5, 40, group="project", policies=("project", "all", "course"))}),
            "bob": User("Denied", {"all": Quota(5, 1)}),
        },
        members={"alice": ("course", "project")},
    ),
    Case(
        "an Override may also lower a limit",
        ("S13", "1 Override"),
        {"all": memory(100), "throttled": memory(2, users=("alice",), combine="Override")},
        FIVE,
        {"alice": User("Denied", {"throttled": Quota(5, 2)})},
    ),
    Case(
        "where policies disagree on combine the smallest holds, and each is told",
        ("S13", "1 conditions"),
        {"four": memory(4, combine="Max"), "twenty": memory(20, combine="Sum")},
        FIVE,
        {"alice": User("Denied", {"four": Quota(5, 4, policies=("four", "twenty"))})},
        told={
            "four": Told({"Conflict": "CombineDiffers"}),
            "twenty": Told({"Conflict": "CombineDiffers"}),
        },
        then=(
            Then(
                (Write("twenty", memory(20, combine="Max")),),
                {"alice": User(quotas={"twenty": Quota(5, 20)})},
                told={"four": Told({"Conflict": None}), "twenty": Told({"Conflict": None})},
            ),
        ),
    ),
    Case(
        "policies of different windows are quotas of their own, and all must have room",
        ("S12", "3 launch by which quotas"),
        {"daily": memory(4, "1d"), "weekly": memory(10)},
        FIVE,
        {
            "alice": User(
                "Denied",
                {"daily": Quota(5, 4), "weekly": Quota(5, 10)},
                launches=(Launch(by=("daily",), until="2026-03-30T01:00:01Z"),),
            )
        },
    ),
    Case(
        "the same window in other words is the same window",
        ("S1", "S12"),
        {"in-days": memory(10, "7d"), "in-hours": memory(20, "168h")},
        FIVE,
        {"alice": User(quotas={"in-days": Quota(5, 10, policies=("in-days", "in-hours"))})},
    ),
    Case(
        "limits in different units combine, and are told in the unit of the one that decides",
        ("S12", "S13", "2 formatting"),
        {"gib": memory(10), "mib": memory(4096, unit="MiB-hours")},
        FIVE,
        {"alice": User("Denied", {"mib": Quota(5120, 4096, unit="MiB-hours", policies=("mib", "gib"))})},
    ),
    Case(
        "windows and weights that come to the same are the same",
        ("S12", "1 calendar", "1 fixed", "1 credits"),
        {
            "week": memory(10, window=calendar("Week", "UTC", weekStart="Monday")),
            "week-too": memory(6, window=calendar("Week", "UTC")),
            "event": memory(9, window=fixed("2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z")),
            "event-too": memory(7, window=fixed("2026-03-29T02:00:00+02:00", "2026-03-30T02:00:00+02:00")),
            "credits": quota("credits", 20, prices={"memory": 1, "cpu": 2}),
            "credits-too": quota("credits", 8, prices={"cpu": "2.0", "memory": "1.000"}),
        },
        FIVE,
        {
            "alice": User(
                quotas={
                    "week-too": Quota(5, 6, policies=("week-too", "week")),
                    "event-too": Quota(5, 7, policies=("event-too", "event")),
                    "credits-too": Quota(5, 8, policies=("credits-too", "credits")),
                }
            )
        },
    ),
    Case(
        "policies of different enforcement do not combine",
        ("S12", "1 Warn", "1 Deny"),
        {"denies": memory(10), "warns": memory(5, enforcement="Warn")},
        FIVE,
        {
            "alice": User(
                "Warned",
                {"denies": Quota(5, 10), "warns": Quota(5, 5, enforcement="Warn")},
                launches=(Launch(warned=("warns",)),),
            )
        },
    ),
    Case(
        "policies of different weights do not combine",
        ("S12", "S24", "1 credits"),
        {
            "by-memory": quota("credits", 10, prices={"memory": 1}),
            "by-half": quota("credits", 10, prices={"memory": "0.5"}),
        },
        FIVE,
        {"alice": User(quotas={"by-memory": Quota(5, 10), "by-half": Quota(2.5, 10)})},
    ),
    Case(
        "policies of different resources do not combine",
        ("S12",),
        {"memory": memory(10), "cpu": quota("cpu", 10)},
        (Pod("alice", -10, 5, {"memory": "1Gi", "cpu": "1"}),),
        {"alice": User(quotas={"memory": Quota(5, 10), "cpu": Quota(5, 10)})},
    ),
    Case(
        "a policy that decides nothing for anybody names what does",
        ("S13", "1 conditions"),
        {"all": memory(10), "hers": memory(50, users=("alice",), combine="Override")},
        FIVE,
        {"alice": User(quotas={"hers": Quota(5, 50)})},
        told={"all": Told({"Ineffective": "Outranked"}, users=1), "hers": Told({"Ineffective": None}, users=1)},
    ),
    Case(
        "what is combined excepts what all except, warns at the lowest, and says what those that decide say",
        ("S13", "1 exceptProfiles"),
        {
            "a": memory(4, exceptProfiles=("small", "tiny"), warnAt=80, message="Ask Ann."),
            "b": memory(4, exceptProfiles=("small",), warnAt=70, message="Ask Bob."),
            "c": memory(9, exceptProfiles=("small",), warnAt=60, message="Ask nobody."),
        },
        FIVE,
        {
            "alice": User(
                "Denied",
                {
                    "a": Quota(
                        5, 4, policies=("a", "b", "c"), exceptions=("small",), warn_at=60, message="Ask Ann.\nAsk Bob."
                    )
                },
                launches=(
                    Launch(profile="small"),
                    Launch(profile="tiny", by=("a",), until="2026-04-05T01:00:01Z"),
                ),
            )
        },
    ),
    Case(
        "an Override brings its own exceptions, and is bound by nobody else's",
        ("S13", "1 exceptProfiles", "1 Override"),
        {
            "all": memory(100, exceptProfiles=("small",)),
            "hers": memory(4, users=("alice",), combine="Override", exceptProfiles=("tiny",)),
        },
        FIVE,
        {
            "alice": User(
                "Denied",
                {"hers": Quota(5, 4, exceptions=("tiny",))},
                launches=(
                    Launch(profile="tiny"),
                    Launch(profile="small", by=("hers",), until="2026-04-05T01:00:01Z"),
                ),
            )
        },
    ),
    Case(
        "Observe changes no verdict; its own is that of the Deny policies with it",
        ("S14", "1 Observe"),
        {"denies": memory(10), "trial": memory(4, enforcement="Observe")},
        FIVE,
        {
            "alice": User(
                quotas={
                    "denies": Quota(5, 10),
                    "trial": Quota(5, 4, enforcement="Observe", policies=("trial", "denies")),
                },
                launches=(Launch(shadow=("trial",)),),
                says="memory: 5 of 10 GiB-hours in 7d",
            )
        },
    ),
    Case(
        "each policy that observes is judged beside the Deny policies, not beside the other",
        ("S14", "1 Observe"),
        {
            "denies": memory(8),
            "loose": memory(10, enforcement="Observe"),
            "strict": memory(3, enforcement="Observe"),
        },
        FIVE,
        {
            "alice": User(
                quotas={
                    "denies": Quota(5, 8),
                    "loose": Quota(5, 8, enforcement="Observe"),
                    "strict": Quota(5, 3, enforcement="Observe"),
                },
                launches=(Launch(shadow=("strict",)),),
            )
        },
    ),
    Case(
        "unlimited warnings lift no refusal",
        ("S12", "1 unlimited", "1 Warn"),
        {"denies": memory(4), "vip": memory(None, users=("alice",), combine="Override", enforcement="Warn")},
        FIVE,
        {"alice": User("Denied", {"denies": Quota(5, 4)})},
    ),
    Case(
        "an observed Override would free whom the others refuse, and does not",
        ("S14", "1 Observe", "1 Override"),
        {"denies": memory(4, "1d"), "trial": memory(100, "1d", enforcement="Observe", combine="Override")},
        FIVE,
        {
            "alice": User(
                "Denied",
                {"denies": Quota(5, 4), "trial": Quota(5, 100, enforcement="Observe")},
                launches=(Launch(by=("denies",), until="2026-03-30T01:00:01Z"),),
            )
        },
    ),
    Case(
        "an observed limit of 0 refuses nobody",
        ("S5", "S14", "1 Observe", "1 limit 0"),
        {"trial": memory(0, enforcement="Observe")},
        FIVE,
        {
            "alice": User(
                quotas={"trial": Quota(5, 0, enforcement="Observe")},
                launches=(Launch(shadow=("trial",)),),
                says="no limit",
            )
        },
    ),
)
