"""Pools: what a group, or everyone, uses together."""

from typing import Final

from tests.scenarios.vocabulary import Begin, Case, Join, Launch, Pod, Quota, Then, User, memory

CLASS: Final = memory(4, "1d", groups=("students",), sharing="Shared")
ROOMY: Final = memory(100, groups=("students",), sharing="Shared")
IN: Final = ("students",)
BOTH: Final = {"alice": IN, "bob": IN}
#: Alice 2 hours and Bob 3, both from 10 hours ago.
LESSON: Final = (Pod("alice", -10, 2, groups=IN), Pod("bob", -10, 3, groups=IN))

POOLS: Final = (
    Case(
        "a pool sums what its members hold, and its state is told in the policy alone",
        ("S15", "1 Shared", "7 pool in the policy only"),
        {"class": ROOMY},
        (*LESSON, Pod("carol", -10, 4), Pod("alice", -1, groups=IN)),
        {
            "alice": User(pools=("class",), says="shared: class"),
            "bob": User(pools=("class",)),
            "carol": User(says="no limit"),
        },
        {"class": Quota(6, 100, 1, covered=-10, blocked=((94, None),), policies=("class",))},
        members=BOTH,
    ),
    Case(
        "a used-up pool refuses its members, also those who have used nothing, and nobody else",
        ("S18", "1 Shared", "3 launch by which quotas"),
        {"class": CLASS},
        (*LESSON, Pod("carol", -10, 4)),
        {
            # At first 2 GiB leave the window together: half an hour of them is the 1 that is too much.
            "alice": User(pools=("class",), launches=(Launch(by=("class",), until="2026-03-30T00:30:01Z"),)),
            "dave": User(pools=("class",), launches=(Launch(by=("class",), until="2026-03-30T00:30:01Z"),)),
            "carol": User(launches=(Launch(),)),
        },
        {"class": Quota(5, 4, blocked=((0, "2026-03-30T00:30:01Z"),))},
        members=BOTH | {"dave": IN},
    ),
    Case(
        "who leaves a group leaves what was used to the group's pool",
        ("S15", "6 membership"),
        {"class": ROOMY},
        LESSON,
        {"alice": User(pools=("class",))},
        {"class": Quota(5, 100)},
        members=BOTH,
        then=(Then((Join("alice", ("staff",)),), {"alice": User()}, {"class": Quota(5, 100)}),),
    ),
    Case(
        "who joins a group meets its pool at once",
        ("S15", "S18", "6 membership", "6 without a restart"),
        {"class": CLASS},
        (*LESSON, Pod("carol", -10, 4)),
        {"carol": User(launches=(Launch(),))},
        {"class": Quota(5, 4)},
        members=BOTH,
        then=(
            Then(
                (Join("carol", IN),),
                {"carol": User(pools=("class",), launches=(Launch(by=("class",), until="2026-03-30T00:30:01Z"),))},
                {"class": Quota(5, 4)},
            ),
        ),
    ),
    Case(
        "what was used before joining is not charged to the pool",
        ("S15", "5 groups at launch", "6 membership"),
        {"class": ROOMY},
        (Pod("alice", -10, 2), Pod("bob", -10, 3, groups=IN)),
        {"alice": User(pools=("class",))},
        {"class": Quota(3, 100)},
        members=BOTH,
    ),
    Case(
        "a server that runs on goes on charging the group it was launched in",
        ("S15", "6 membership"),
        {"class": ROOMY, "staff": memory(100, groups=("staff",), sharing="Shared")},
        (Pod("alice", -10, groups=IN),),
        {"alice": User(pools=("staff",), running=1)},
        {"class": Quota(10, 100, 1), "staff": Quota(0, 100, 0)},
        members={"alice": ("staff",)},
    ),
    Case(
        "a chosen group is charged alone",
        ("S15", "5 groups at launch"),
        {"class": ROOMY, "project": memory(100, groups=("project",), sharing="Shared")},
        (Pod("alice", -10, 2, groups=("project", "students"), chosen="project"),),
        {"alice": User(pools=("class", "project"))},
        {"class": Quota(0, 100), "project": Quota(2, 100)},
        members={"alice": ("project", "students")},
    ),
    Case(
        "without a choice all groups of the launch are charged, so pools do not add up",
        ("S15", "S17"),
        {"class": ROOMY, "project": memory(100, groups=("project",), sharing="Shared")},
        (Pod("alice", -10, 2, groups=("project", "students")),),
        {"alice": User(pools=("class", "project"))},
        {"class": Quota(2, 100), "project": Quota(2, 100)},
        members={"alice": ("project", "students")},
    ),
    Case(
        "a pod is charged once to a pool, even if two of its groups match",
        ("S17",),
        {"both": memory(100, users=("alice",), groups=("project", "students"), sharing="Shared")},
        (Pod("alice", -10, 2, groups=("project", "students")),),
        {"alice": User(pools=("both",))},
        {"both": Quota(2, 100)},
        members={"alice": ("project", "students")},
    ),
    Case(
        "a pool of everyone is charged by every user's pod, one of users by theirs alone",
        ("S16", "1 everyone", "1 users"),
        {"hub": memory(100, sharing="Shared"), "two": memory(100, users=("alice", "bob"), sharing="Shared")},
        (*LESSON, Pod("carol", -10, 4)),
        {"alice": User(pools=("hub", "two")), "carol": User(pools=("hub",))},
        {"hub": Quota(9, 100), "two": Quota(5, 100)},
        members=BOTH,
    ),
    Case(
        "a pool of users is charged whatever group a pod was launched for",
        ("S16",),
        {"two": memory(100, users=("alice",), groups=("other",), sharing="Shared")},
        (Pod("alice", -10, 2, groups=IN, chosen="students"),),
        {"alice": User(pools=("two",))},
        {"two": Quota(2, 100)},
        members=BOTH,
    ),
    Case(
        "a pod without a user but with a group is charged to the group's pools",
        ("S17", "5 PrimeHub", "5 our annotation"),
        {"class": ROOMY, "hub": memory(100, sharing="Shared")},
        (
            Pod(None, -10, 2, marks={"hubquota.dev/groups": '["students"]'}),
            Pod(None, -10, 3, marks={"primehub.io/usage": '{"component": "deployment", "group": "students"}'}),
            Pod("alice", -10, 1),
        ),
        {"alice": User(pools=("hub",))},
        {"class": Quota(5, 100), "hub": Quota(1, 100)},
    ),
    Case(
        "a launch touches a user's quota and all pools, and all must have room",
        ("S18", "S12", "1 PerUser", "1 Shared"),
        {"own": memory(2, "1d"), "class": CLASS},
        LESSON,
        {
            "bob": User(
                "Denied",
                {"own": Quota(3, 2)},
                ("class",),
                # His own opens after 1 of his 3 hours has left, later than the class's.
                launches=(Launch(by=("class", "own"), until="2026-03-30T01:00:01Z"),),
            )
        },
        {"class": Quota(5, 4)},
        members=BOTH,
    ),
    Case(
        "a pool that warns or observes refuses nobody",
        ("S14", "S18", "S22", "1 Warn", "1 Observe"),
        {"warns": CLASS | {"enforcement": "Warn"}, "trial": CLASS | {"enforcement": "Observe"}},
        LESSON,
        {"alice": User(pools=("trial", "warns"), launches=(Launch(warned=("warns",), shadow=("trial",)),))},
        {"warns": Quota(5, 4, enforcement="Warn"), "trial": Quota(5, 4, enforcement="Observe")},
        members=BOTH,
    ),
    Case(
        "a pool with a limit of 0 refuses all who would charge it",
        ("S5", "S18", "1 limit 0"),
        {"class": memory(0, groups=("students",), sharing="Shared", exceptProfiles=("small",))},
        (Pod("bob", -3),),
        {
            "alice": User(pools=("class",), launches=(Launch(by=("class",)), Launch(profile="small"))),
            "bob": User(launches=(Launch(),)),
        },
        {"class": Quota(0, 0, blocked=((0, None),))},
        members={"alice": IN},
    ),
    Case(
        "a pool is used up sooner when one more server runs",
        ("S15", "3 blocked stretches", "7 material change"),
        {"class": memory(100, "10d", groups=("students",), sharing="Shared")},
        (Pod("alice", -10, groups=IN),),
        {"alice": User(pools=("class",))},
        # 90 of 100 are left, at 1 an hour; with 2 GiB more, at 3.
        {"class": Quota(10, 100, 1, blocked=((90, None),))},
        members=BOTH,
        then=(
            Then(
                (Begin(Pod("bob", 0, asks={"memory": "2Gi"}, groups=IN)),),
                {"bob": User(pools=("class",), running=1)},
                {"class": Quota(10, 100, 3, blocked=((30, None),))},
            ),
        ),
    ),
    Case(
        "a launch for a chosen group meets that group's pool and no other",
        ("S15", "S18"),
        {"class": CLASS, "project": memory(100, groups=("project",), sharing="Shared")},
        (Pod("alice", -10, 5, groups=("project", "students"), chosen="students"),),
        {
            "alice": User(
                pools=("class", "project"),
                launches=(
                    Launch(group="project"),
                    Launch(group="students", by=("class",), until="2026-03-30T01:00:01Z"),
                    Launch(by=("class",), until="2026-03-30T01:00:01Z"),
                ),
            )
        },
        members={"alice": ("project", "students")},
    ),
    Case(
        "users see nothing of a pool that only observes",
        ("S14",),
        {
            "trial": memory(1, groups=("students",), sharing="Shared", enforcement="Observe"),
            "warns": memory(100, groups=("students",), sharing="Shared", enforcement="Warn"),
        },
        (Pod("alice", -10, 2, groups=IN),),
        {"alice": User(pools=("trial", "warns"), says="shared: warns", launches=(Launch(shadow=("trial",)),))},
        members={"alice": IN},
    ),
)
