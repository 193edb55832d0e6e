"""Resources: what a pod holds of each, as the scheduler counts it."""

from typing import Any, Final

from tests.scenarios.objects import container_status
from tests.scenarios.vocabulary import (
    Case,
    Delete,
    Grow,
    Launch,
    Pod,
    Quota,
    Runner,
    Then,
    Told,
    User,
    Write,
    container,
    memory,
    quota,
)

GPU: Final = "nvidia.com/gpu"
WEEKLY: Final = {"weekly": memory(100)}
AT_ONCE: Final = {"one": quota("servers", 1, "")}
STORAGE: Final[Any] = {
    "home": quota("storage", 10, "", enforcement="Deny", exceptProfiles=("small",), message="Delete what you can.")
}


def holds(name: str, aspects: tuple[str, ...], gib: float, **spec: Any) -> Case:  # noqa: ANN401 - a pod's spec
    """A pod of this spec has held so many GiB for ten hours."""
    pod = Pod("alice", -10, spec={"containers": [gibs(1)]} | spec)
    return Case(name, aspects, WEEKLY, (pod,), {"alice": User(quotas={"weekly": Quota(10 * gib, 100, gib)})})


def gibs(amount: int, **more: str) -> dict[str, Any]:
    """A container that requests so many GiB."""
    return container(requests={"memory": f"{amount}Gi"}) | more


def resized(name: str, gib: float, pending: str, *, wants: int, has: int) -> Case:
    """A pod in the middle of a resize holds so many GiB."""
    in_force = {"requests": {"memory": f"{has}Gi"}}
    status = container_status("containers-0", {"running": {}}) | {"resources": in_force}
    waits = {"type": "PodResizePending", "status": "True", "reason": pending}
    told = {"containerStatuses": [status], "conditions": [waits]}
    pod = Pod("alice", -10, asks={"memory": f"{wants}Gi"}, status=told)
    return Case(name, ("4 resize",), WEEKLY, (pod,), {"alice": User(quotas={"weekly": Quota(10 * gib, 100, gib)})})


RESOURCES: Final = (
    Case(
        "CPU-hours, memory and GPU-hours of one pod are counted each for itself",
        ("1 cpu", "1 memory", "1 extended resources"),
        {"cpu": quota("cpu", 100), "memory": memory(100), "gpu": quota(GPU, 100, unit="GPU-hours")},
        (Pod("alice", -10, 3, {"cpu": "500m", "memory": "4Gi", GPU: "2"}),),
        {"alice": User(quotas={"cpu": Quota(1.5, 100), "memory": Quota(12, 100), "gpu": Quota(6, 100)})},
    ),
    Case(
        "any extended resource is counted in device-hours",
        ("1 extended resources",),
        {
            "mig": quota("nvidia.com/mig-1g.5gb", 6, unit="device-hours"),
            "fpga": quota("example.com/fpga", 100),
        },
        (Pod("alice", -10, 3, {"nvidia.com/mig-1g.5gb": "2", "example.com/fpga": "1", GPU: "1"}),),
        {
            "alice": User(
                "Denied",
                {"mig": Quota(6, 6, unit="device-hours"), "fpga": Quota(3, 100)},
                launches=(
                    Launch(asks={GPU: "1"}),
                    Launch(asks={"nvidia.com/mig-1g.5gb": "1"}, by=("mig",), until="2026-04-05T00:00:01Z"),
                ),
            )
        },
    ),
    Case(
        "servers over a window are server-hours",
        ("S23", "1 servers", "5 named servers"),
        {"hours": quota("servers", 10)},
        (Pod("alice", -10, 2), Pod("alice", -10, 3, server="gpu"), Pod("alice", -1, server="late")),
        {"alice": User(quotas={"hours": Quota(6, 10, 1, unit="hours", blocked=((4, None),))}, running=1)},
    ),
    Case(
        "servers without a window are servers at once; a server's own pod does not count against its relaunch",
        ("S23", "1 servers", "3 if stopped"),
        AT_ONCE,
        (Pod("alice", -3), Pod("bob", -5, 2)),
        {
            "alice": User(
                "Denied",
                {"one": Quota(1, 1, unit="servers", blocked=((0, None),), if_stopped=())},
                launches=(Launch(), Launch(server="second", by=("one",), if_stopped=0)),
                running=1,
            ),
            "bob": User(quotas={"one": Quota(0, 1)}, launches=(Launch(), Launch(server="second"))),
        },
    ),
    Case(
        "limits of servers at once add up too",
        ("S23", "S13", "1 servers", "1 Sum"),
        {"one": quota("servers", 1, "", combine="Sum"), "two-more": quota("servers", 2, "", combine="Sum")},
        (Pod("alice", -10), Pod("alice", -9, server="b")),
        {"alice": User(quotas={"one": Quota(2, 3)}, launches=(Launch(server="c"), Launch(server="b")))},
    ),
    Case(
        "servers on their way count as servers at once, until they are gone",
        ("S23", "5 never scheduled"),
        AT_ONCE,
        (Pod("alice", None, name="waiting", server="first"),),
        {
            "alice": User(
                "Denied",
                {"one": Quota(1, 1)},
                launches=(Launch(server="second", by=("one",), if_stopped=0), Launch(server="first")),
                running=0,
            )
        },
        then=(
            Then(
                (Delete("waiting"),),
                {"alice": User(quotas={"one": Quota(0, 1)}, launches=(Launch(server="second"),))},
            ),
        ),
        runs=frozenset({Runner.LIBRARY, Runner.OPERATOR}),
        because="a pod history holds what was placed",
    ),
    Case(
        "a server that failed before it was placed does not count as one",
        ("S23", "5 never scheduled"),
        AT_ONCE,
        (Pod("alice", None, status={"phase": "Failed"}),),
        {"alice": User(quotas={"one": Quota(0, 1)}, launches=(Launch(server="second"),), running=0)},
    ),
    Case(
        "child pods are no servers",
        ("S23", "5 PrimeHub"),
        AT_ONCE | {"hours": quota("servers", 100)},
        (Pod("alice", -3), Pod(None, -2, marks={"primehub.io/usage": '{"user": "alice", "component": "job"}'})),
        {"alice": User("Denied", {"one": Quota(1, 1), "hours": Quota(3, 100)}, running=2)},
    ),
    Case(
        "credits are a weighted sum of hours",
        ("S24", "1 credits"),
        {"credits": quota("credits", 100, prices={"cpu": 1, "memory": "0.25", GPU: 30, "servers": "0.5"})},
        # An hour costs 2 + 1 + 30 + 0.5.
        (Pod("alice", -10, 2, {"cpu": "2", "memory": "4Gi", GPU: "1"}),),
        {"alice": User(quotas={"credits": Quota(67, 100, 0, unit="credits")})},
    ),
    Case(
        "what has no price costs nothing, and it is told",
        ("S24", "1 credits", "1 conditions"),
        {"credits": quota("credits", 100, prices={"memory": 1})},
        (Pod("alice", -10, 2, {"memory": "4Gi", GPU: "1"}),),
        {"alice": User(quotas={"credits": Quota(8, 100)}, launches=(Launch(asks={GPU: "1"}),))},
        then=(
            # All its users are looked at anew when a policy has changed; else twice a minute, and here no time passes.
            Then(
                (Write("credits", quota("credits", 100, prices={"memory": 1}, warnAt=80)),),
                told={"credits": Told({"Unweighted": "NoPrice"})},
            ),
        ),
    ),
    Case(
        "new prices hold for the whole window that is open",
        ("S24", "6 edited", "6 without a restart"),
        {"credits": quota("credits", 100, prices={"memory": 1})},
        (Pod("alice", -10, 2, {"memory": "4Gi"}),),
        {"alice": User(quotas={"credits": Quota(8, 100)})},
        then=(
            Then(
                (Write("credits", quota("credits", 100, prices={"memory": "12.5"})),),
                {"alice": User("Denied", {"credits": Quota(100, 100)})},
            ),
        ),
    ),
    Case(
        "storage is a level that nobody has measured yet: it is not told, and refuses nobody",
        ("S25", "1 storage"),
        STORAGE,
        (Pod("alice", -10, 2),),
        {"alice": User(quotas={"home": Quota("", 10, unit="GiB", blocked=())}, launches=(Launch(),))},
    ),
    Case(
        "a full home refuses, but not the profiles from which one can tidy up, and nobody knows until when",
        ("S25", "S20", "1 storage", "1 exceptProfiles"),
        STORAGE,
        (Pod("alice", -10, 2), Pod("bob", -10, 2)),
        {
            "alice": User(
                "Denied",
                {"home": Quota(10, 10, blocked=((0, None),), if_stopped=((0, None),), message="Delete what you can.")},
                launches=(Launch(by=("home",), if_stopped=None), Launch(profile="small")),
            ),
            "bob": User(quotas={"home": Quota("9.999999", 10, blocked=())}, launches=(Launch(),)),
        },
        homes={"alice": "10Gi", "bob": "10737418239"},
        runs=frozenset({Runner.LIBRARY}),
        because="nothing tells the operator, or a pod history, how large homes are yet",
    ),
    Case(
        "storage of 0 is full whatever there is",
        ("S25", "S5", "1 storage", "1 limit 0"),
        {"home": quota("storage", 0, "", enforcement="Warn")},
        (Pod("alice", -10, 2),),
        {"alice": User("Warned", {"home": Quota("", 0, enforcement="Warn")}, launches=(Launch(warned=("home",)),))},
    ),
    Case(
        "a pod that requests none of a resource holds none of it, and it is told",
        ("S26", "1 conditions"),
        {"cpu": quota("cpu", 100)},
        (Pod("alice", -10),),
        {"alice": User(quotas={"cpu": Quota(0, 100, 0)}, launches=(Launch(),))},
        then=(
            # All its users are looked at anew when a policy has changed; else twice a minute, and here no time passes.
            Then((Write("cpu", quota("cpu", 100, warnAt=80)),), told={"cpu": Told({"NothingMetered": "NoRequests"})}),
        ),
    ),
    Case(
        "where somebody asks for it, nothing is told",
        ("S26", "1 conditions"),
        {"cpu": quota("cpu", 100)},
        (Pod("alice", -10), Pod("bob", -10, asks={"cpu": "1"})),
        {"alice": User(quotas={"cpu": Quota(0, 100, 0)}), "bob": User(quotas={"cpu": Quota(10, 100, 1)})},
        then=(
            # All its users are looked at anew when a policy has changed; else twice a minute, and here no time passes.
            Then((Write("cpu", quota("cpu", 100, warnAt=80)),), told={"cpu": Told({"NothingMetered": None}, users=2)}),
        ),
    ),
    holds(
        "a request that is missing beside a limit is the limit",
        ("S26", "4 limit without request"),
        2,
        containers=[container(limits={"memory": "2Gi"})],
    ),
    holds(
        "a limit above the request is not held",
        ("S26", "4 limit without request"),
        1,
        containers=[container(limits={"memory": "2Gi"}, requests={"memory": "1Gi"})],
    ),
    holds("containers add up", ("1 memory",), 3, containers=[gibs(1), gibs(2)]),
    holds(
        "sidecars add to the containers",
        ("4 sidecars",),
        3,
        initContainers=[gibs(2, restartPolicy="Always")],
    ),
    holds(
        "an init container larger than what runs in the end counts for the whole life",
        ("4 init containers",),
        4,
        initContainers=[gibs(4), gibs(3)],
    ),
    holds(
        "a smaller init container counts for nothing",
        ("4 init containers",),
        1,
        initContainers=[container(requests={"memory": "512Mi"})],
    ),
    holds(
        "an init container runs beside the sidecars before it, not beside those after it",
        ("4 sidecars", "4 init containers"),
        4,
        initContainers=[gibs(1, restartPolicy="Always"), gibs(3), gibs(1, restartPolicy="Always")],
    ),
    holds(
        "overhead is held beside the containers",
        ("4 overhead",),
        1.25,
        runtimeClassName="scenarios-kata",
        overhead={"memory": "256Mi"},
    ),
    holds(
        "resources of the pod stand for the sum of the containers'",
        ("4 pod-level",),
        3,
        resources={"requests": {"memory": "3Gi"}, "limits": {"memory": "4Gi"}},
    ),
    holds(
        "a limit of the pod stands only for what no container requests",
        ("4 pod-level", "4 limit without request"),
        1,
        resources={"limits": {"memory": "4Gi"}},
    ),
    resized("a smaller size counts once the kubelet has it in force", 3, "Deferred", wants=1, has=3),
    resized("a larger size counts from when it is asked for", 3, "Deferred", wants=3, has=1),
    resized("a size that the node can never give does not count", 1, "Infeasible", wants=3, has=1),
    Case(
        "a resize in place begins a new segment",
        ("4 resize",),
        WEEKLY,
        (Pod("alice", -10, 8, grew=(-6, {"memory": "3Gi"}), ended="Deleted"),),
        # 4 hours of 1, then 4 of 3.
        {"alice": User(quotas={"weekly": Quota(16, 100, 0)})},
    ),
    Case(
        "a resize now changes what is to come, not what was",
        ("4 resize", "3 blocked stretches", "7 material change"),
        WEEKLY,
        (Pod("alice", -10, name="jupyter-alice"),),
        {"alice": User(quotas={"weekly": Quota(10, 100, 1, blocked=((90, None),))})},
        then=(
            Then(
                (Grow("jupyter-alice", {"memory": "3Gi"}),),
                {"alice": User(quotas={"weekly": Quota(10, 100, 3, blocked=((30, None),))}, running=1)},
            ),
        ),
    ),
)
