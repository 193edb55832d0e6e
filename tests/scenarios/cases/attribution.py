"""Attribution: whose a pod is."""

from typing import Final

from tests.scenarios.objects import USERNAME
from tests.scenarios.vocabulary import Case, Pod, Quota, User, memory

WEEKLY: Final = {"weekly": memory(100)}
LONG: Final = "x" * 96 + "@uni"


def used(hours: float) -> User:
    """So many GiB-hours of 100."""
    return User(quotas={"weekly": Quota(hours, 100)})


def each(name: str, aspects: tuple[str, ...], *users: str) -> Case:
    """The first has used 1 hour, the second 2, and so on."""
    pods = tuple(Pod(user, -10, hours) for hours, user in enumerate(users, 1))
    return Case(name, aspects, WEEKLY, pods, {user: used(hours) for hours, user in enumerate(users, 1)})


ATTRIBUTION: Final = (
    each("users whose names begin alike are not mixed up", ("5 prefixes",), "ann", "anna", "annabel", "ann-a", "an"),
    each("e-mail addresses are names", ("5 e-mail",), "alice@uni.edu", "alice@uni.edu.au", "alice", "alice+b@uni.edu"),
    each("upper and lower case are different names", ("5 upper case", "S8"), "alice", "Alice", "ALICE"),
    each("a name may have 100 characters", ("5 100 characters",), LONG, LONG[:-1], LONG + "x"),
    each("names may be in any script", ("5 Unicode",), "Žofie Nováková", "Zofie Novakova", "李小龍", "عليّ", "🦊"),
    each(
        "a name may hold what shells, paths and JSON trip over",
        ("5 raw name",),
        'o"brien\\',
        "a/b c",
        "../etc",
        "{username}",
        "-",
        "$(id)",
        "jupyter-alice--2d",
    ),
    each("control characters in a name touch nothing", ("8 control characters",), "eve\x1b[31m", "eve", "eve\r\nbob"),
    Case(
        "named servers of one user add up",
        ("S11", "5 named servers"),
        WEEKLY,
        (Pod("alice", -10, 1), Pod("alice", -10, 2, server="gpu"), Pod("alice", -10, 4, server="GPU 2")),
        {"alice": used(7)},
    ),
    Case(
        "child pods with PrimeHub's annotation are charged to its user",
        ("S11", "5 PrimeHub"),
        WEEKLY,
        (
            Pod("alice", -10, 1),
            Pod(None, -10, 2, marks={"primehub.io/usage": '{"user": "alice", "component": "job", "group": "g"}'}),
        ),
        {"alice": used(3)},
    ),
    Case(
        "child pods with our annotation are charged to its user, and to the groups they name",
        ("S11", "S15", "5 our annotation"),
        WEEKLY | {"class": memory(100, groups=("students",), sharing="Shared")},
        (
            Pod("alice", -10, 1),
            Pod(None, -10, 2, marks={"hubquota.dev/user": "alice", "hubquota.dev/groups": '["students", "x"]'}),
            Pod(None, -10, 4, marks={"hubquota.dev/user": "alice", "hubquota.dev/component": "dask-worker"}),
        ),
        {"alice": User(quotas={"weekly": Quota(7, 100)}, pools=("class",))},
        {"class": Quota(2, 100)},
        members={"alice": ("students",)},
    ),
    Case(
        "the hub's own annotation goes before PrimeHub's",
        ("5 raw name", "5 PrimeHub"),
        WEEKLY,
        (Pod(None, -10, 2, marks={USERNAME: "alice", "primehub.io/usage": '{"user": "bob"}'}), Pod("bob", -10, 1)),
        {"alice": used(2), "bob": used(1)},
    ),
    Case(
        "a pod without an annotation is nobody's",
        ("5 raw name",),
        WEEKLY,
        (Pod(None, -10, marks={"hub.jupyter.org/servername": "alice"}, name="jupyter-alice"), Pod("alice", -5, 1)),
        {"alice": used(1)},
    ),
    Case(
        "quotas are per hub: what the same name uses in another namespace is another's",
        ("S11", "5 namespace"),
        WEEKLY,
        (Pod("alice", -10, 1), Pod("alice", -10, 4, other_hub=True)),
        {"alice": used(1)},
    ),
    Case(
        "a pod that nobody can make sense of leaves its neighbours metered",
        ("5 raw name",),
        WEEKLY,
        (
            Pod("alice", -10, 1),
            Pod(None, -10, marks={USERNAME: "alice", "hubquota.dev/groups": "{"}),
            Pod(None, -10, marks={"primehub.io/usage": "[]"}),
            Pod("bob", -10, 2),
        ),
        {"alice": used(1), "bob": used(2)},
    ),
)
