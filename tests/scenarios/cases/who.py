"""Who: whom a policy holds for, by name, by group, by default."""

from typing import Final

from tests.scenarios.vocabulary import Case, Join, Launch, Pod, Quota, Then, Told, User, memory, quota

WHO: Final = (
    Case(
        "names match exactly",
        ("S8", "1 users", "1 PerUser", "5 prefixes", "5 upper case"),
        {"hers": memory(10, users=("alice",))},
        tuple(Pod(name, -5) for name in ("alice", "Alice", "alice2", "al", "malice")),
        {"alice": User(quotas={"hers": Quota(5, 10, group="")}), "Alice": User(), "alice2": User(), "al": User()}
        | {"malice": User()},
    ),
    Case(
        "a policy of everyone adds to the others",
        ("S8", "1 everyone", "1 users"),
        {"all": memory(100, "30d"), "hers": memory(10, users=("alice",))},
        (Pod("alice", -5), Pod("bob", -5)),
        {
            "alice": User(quotas={"all": Quota(5, 100), "hers": Quota(5, 10)}),
            "bob": User(quotas={"all": Quota(5, 100)}),
        },
    ),
    Case(
        "users and groups of one scope are a union",
        ("S8", "S10", "1 groups", "1 users"),
        {"both": memory(10, users=("bob",), groups=("students",))},
        (Pod("alice", -5), Pod("bob", -4), Pod("carol", -3)),
        {
            "alice": User(quotas={"both": Quota(5, 10, group="students")}),
            "bob": User(quotas={"both": Quota(4, 10, group="")}),
            "carol": User(),
        },
        members={"alice": ("students",), "bob": ("students",), "carol": ("staff",)},
    ),
    Case(
        "group names match exactly",
        ("S8", "1 groups"),
        {"students": memory(10, groups=("students",))},
        (Pod("alice", -5),),
        {"alice": User()},
        members={"alice": ("Students", "student", "students2")},
    ),
    Case(
        "a fallback holds for those whom nothing else of its resource covers",
        ("S8", "1 fallback"),
        {"hers": memory(10, users=("alice",)), "rest": memory(3, fallback=True)},
        (Pod("alice", -5), Pod("bob", -5)),
        {
            "alice": User(quotas={"hers": Quota(5, 10)}),
            "bob": User("Denied", {"rest": Quota(5, 3)}),
            "newcomer": User(quotas={"rest": Quota(0, 3)}),
        },
        told={"rest": Told({"Ineffective": None}, users=2)},
    ),
    Case(
        "a policy of another resource leaves a fallback in place",
        ("S8", "1 fallback"),
        {"cpu": quota("cpu", 100, users=("alice",)), "rest": memory(20, fallback=True)},
        (Pod("alice", -5, asks={"cpu": "2", "memory": "1Gi"}),),
        {"alice": User(quotas={"cpu": Quota(10, 100), "rest": Quota(5, 20)})},
    ),
    Case(
        "a policy of everyone leaves nobody to a fallback, and it is told",
        ("S8", "1 fallback", "1 everyone", "1 conditions"),
        {"all": memory(100), "rest": memory(1, fallback=True)},
        (Pod("alice", -5),),
        {"alice": User(quotas={"all": Quota(5, 100)})},
        told={"rest": Told({"Ineffective": "NobodyLeft"}, users=0), "all": Told({"Ineffective": None}, users=1)},
    ),
    Case(
        "several fallbacks combine, and an unlimited policy covers too",
        ("S8", "S13", "1 fallback", "1 unlimited"),
        {
            "rest": memory(10, fallback=True),
            "rest-too": memory(4, fallback=True),
            "vip": memory(None, users=("alice",), combine="Override"),
        },
        (Pod("alice", -5), Pod("bob", -5)),
        {"alice": User(), "bob": User("Denied", {"rest-too": Quota(5, 4, policies=("rest-too", "rest"))})},
    ),
    Case(
        "a pool covers for a fallback too",
        ("S8", "1 fallback", "1 Shared"),
        {"class": memory(100, groups=("students",), sharing="Shared"), "rest": memory(1, fallback=True)},
        (Pod("alice", -5, groups=("students",)), Pod("bob", -5)),
        {"alice": User(pools=("class",)), "bob": User("Denied", {"rest": Quota(5, 1)})},
        {"class": Quota(5, 100)},
        members={"alice": ("students",)},
    ),
    Case(
        "a policy that only warns covers for a fallback",
        ("S8", "1 Warn", "1 fallback"),
        {"all": memory(3, enforcement="Warn"), "rest": memory(1, fallback=True)},
        (Pod("alice", -5),),
        {"alice": User("Warned", {"all": Quota(5, 3, enforcement="Warn")}, launches=(Launch(warned=("all",)),))},
    ),
    Case(
        "a policy that only observes does not cover for a fallback",
        ("S8", "S14", "1 Observe", "1 fallback"),
        {"trial": memory(3, enforcement="Observe"), "rest": memory(10, fallback=True)},
        (Pod("alice", -5),),
        {
            "alice": User(
                quotas={"trial": Quota(5, 3, enforcement="Observe"), "rest": Quota(5, 10)},
                launches=(Launch(shadow=("trial",)),),
                says="memory: 5 of 10 GiB-hours in 7d",
            )
        },
        told={"rest": Told({"Ineffective": None}, users=1)},
    ),
    Case(
        "current membership decides, and all usage in the window counts, also from before joining",
        ("S9", "S10", "6 membership"),
        {"students": memory(4, "1d", groups=("students",))},
        (Pod("alice", -10, 4),),
        {
            "alice": User(
                "Denied",
                {"students": Quota(4, 4, group="students")},
                launches=(Launch(by=("students",), until="2026-03-30T00:00:01Z"),),
            )
        },
        members={"alice": ("students",)},
    ),
    Case(
        "it is the hub's last sight of the groups that counts, not what a launch said",
        ("S10", "S9", "5 groups at launch"),
        {"students": memory(10, groups=("students",)), "staff": memory(100, groups=("staff",))},
        (Pod("alice", -5, groups=("staff",)),),
        {"alice": User(quotas={"students": Quota(5, 10, group="students")})},
        members={"alice": ("students",)},
    ),
    Case(
        "who changes group while a server runs is judged by the new group at once",
        ("S9", "S10", "6 membership", "6 without a restart"),
        {"students": memory(3, groups=("students",)), "staff": memory(100, groups=("staff",))},
        (Pod("alice", -5, groups=("students",)),),
        {"alice": User("Denied", {"students": Quota(5, 3)}, running=1)},
        members={"alice": ("students",)},
        then=(
            Then((Join("alice", ("staff",)),), {"alice": User(quotas={"staff": Quota(5, 100)}, running=1)}),
            Then((Join("alice", ()),), {"alice": User(says="no limit", running=1)}),
        ),
    ),
    Case(
        "a name that nobody has is told",
        ("S8", "1 conditions"),
        {"ghosts": memory(10, users=("alcie",), groups=("studnets",)), "hers": memory(10, users=("alice",))},
        (Pod("alice", -5),),
        {"alice": User(quotas={"hers": Quota(5, 10)})},
        told={"ghosts": Told({"UnknownNames": "NeverSeen"}, users=0), "hers": Told({"UnknownNames": None}, users=1)},
        members={"alice": ("students",)},
    ),
)
