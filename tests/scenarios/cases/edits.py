"""Edits: what becomes of statuses when an admin changes a mind."""

from typing import Final

from tests.scenarios.vocabulary import Case, Launch, Pod, Quota, Remove, Then, User, Write, memory

FIVE: Final = (Pod("alice", -10, 5),)
FREE: Final = User(quotas={"weekly": Quota(5, 10)}, launches=(Launch(),))
FULL: Final = User("Denied", {"weekly": Quota(5, 4)})
NOTHING: Final = User(says="no limit")

EDITS: Final = (
    Case(
        "a limit lowered below usage blocks the next launch at once and touches no server that runs",
        ("S6", "6 edited", "6 without a restart", "7 material change"),
        {"weekly": memory(10)},
        (Pod("alice", -5),),
        {"alice": User(quotas={"weekly": Quota(5, 10, 1, blocked=((5, None),))}, running=1)},
        then=(
            Then(
                (Write("weekly", memory(4)),),
                {
                    "alice": User(
                        "Denied",
                        {"weekly": Quota(5, 4, 1, blocked=((0, None),))},
                        launches=(Launch(server="x", by=("weekly",), if_stopped="2026-04-05T06:00:01Z"),),
                        running=1,
                    )
                },
            ),
        ),
    ),
    Case(
        "a raised limit frees at once, and what was used stays",
        ("S6", "6 edited", "6 raised limit"),
        {"weekly": memory(4)},
        FIVE,
        {"alice": FULL},
        then=(Then((Write("weekly", memory(10)),), {"alice": FREE}),),
    ),
    Case(
        "a deleted policy frees at once; made again, it counts what it counted",
        ("S6", "S7", "6 deleted", "6 re-created"),
        {"weekly": memory(4)},
        FIVE,
        {"alice": FULL},
        then=(
            Then((Remove("weekly"),), {"alice": NOTHING}),
            Then((Write("weekly", memory(4)),), {"alice": FULL}),
            Then((Write("weekly", memory(10)),), {"alice": FREE}),
        ),
    ),
    Case(
        "a new policy counts the window that has already passed",
        ("S7", "6 new policy"),
        {"other": memory(100, users=("bob",))},
        FIVE,
        {"alice": NOTHING},
        then=(Then((Write("weekly", memory(4)),), {"alice": FULL}),),
    ),
    Case(
        "what was before watching began is unknown: it is told since when usage is known",
        ("S7",),
        {"weekly": memory(10), "hourly": memory(10, "1h")},
        FIVE,
        {"alice": User(quotas={"weekly": Quota(5, 10, covered=-10), "hourly": Quota(0, 10, covered=-1)})},
    ),
    Case(
        "another window counts another stretch of the same past",
        ("6 edited", "S7"),
        {"weekly": memory(10)},
        (*FIVE, Pod("alice", -30, 2, ended="Deleted")),
        {"alice": User(quotas={"weekly": Quota(7, 10)})},
        then=(
            Then((Write("weekly", memory(10, "1d")),), {"alice": User(quotas={"weekly": Quota(5, 10)})}),
            Then((Write("weekly", memory(10, "7h")),), {"alice": User(quotas={"weekly": Quota(2, 10)})}),
        ),
    ),
    Case(
        "a longer window reaches back to what no policy asked for before",
        ("6 edited", "S7"),
        {"hourly": memory(10, "1h")},
        (*FIVE, Pod("alice", -200 * 24, 2, ended="Deleted")),
        {"alice": User(quotas={"hourly": Quota(0, 10)})},
        then=(Then((Write("hourly", memory(10, "300d")),), {"alice": User(quotas={"hourly": Quota(7, 10)})}),),
        members={"alice": ()},
    ),
    Case(
        "another scope covers others",
        ("6 edited", "1 users"),
        {"weekly": memory(4, users=("alice",))},
        (*FIVE, Pod("bob", -10, 5)),
        {"alice": FULL, "bob": NOTHING},
        then=(Then((Write("weekly", memory(4, users=("bob",))),), {"alice": NOTHING, "bob": FULL}),),
    ),
    Case(
        "from observing to warning to refusing",
        ("S14", "S22", "6 edited", "1 Observe", "1 Warn", "1 Deny"),
        {"weekly": memory(4, enforcement="Observe")},
        FIVE,
        {"alice": User(quotas={"weekly": Quota(5, 4, enforcement="Observe")}, launches=(Launch(shadow=("weekly",)),))},
        then=(
            Then(
                (Write("weekly", memory(4, enforcement="Warn")),),
                {
                    "alice": User(
                        "Warned",
                        {"weekly": Quota(5, 4, enforcement="Warn")},
                        launches=(Launch(warned=("weekly",)),),
                    )
                },
            ),
            Then(
                (Write("weekly", memory(4)),),
                {
                    "alice": User(
                        "Denied",
                        {"weekly": Quota(5, 4)},
                        launches=(Launch(by=("weekly",), until="2026-04-05T01:00:01Z"),),
                    )
                },
            ),
        ),
    ),
    Case(
        "a limit for each becomes one for all, and back",
        ("S16", "6 edited", "1 Shared", "1 PerUser", "7 pool in the policy only"),
        {"weekly": memory(8)},
        (*FIVE, Pod("bob", -10, 4)),
        {"alice": User(quotas={"weekly": Quota(5, 8)}), "bob": User(quotas={"weekly": Quota(4, 8)})},
        {"weekly": None},
        then=(
            Then(
                (Write("weekly", memory(8, sharing="Shared")),),
                # Two GiB leave together for four hours: half an hour of them is the 1 and a little more.
                {"alice": User(pools=("weekly",), launches=(Launch(by=("weekly",), until="2026-04-05T00:30:01Z"),))},
                {"weekly": Quota(9, 8)},
            ),
            Then(
                (Write("weekly", memory(8)),),
                {"alice": User(quotas={"weekly": Quota(5, 8)}, launches=(Launch(),))},
                {"weekly": None},
            ),
        ),
    ),
    Case(
        "two edits at once are both followed",
        ("S13", "6 edited", "6 new policy", "6 without a restart"),
        {"weekly": memory(4, combine="Max")},
        FIVE,
        {"alice": FULL},
        then=(
            Then(
                (
                    Write("weekly", memory(10, combine="Max")),
                    Write("vip", memory(50, users=("alice",), combine="Max")),
                ),
                {"alice": User(quotas={"vip": Quota(5, 50, policies=("vip", "weekly"))})},
            ),
        ),
    ),
)
