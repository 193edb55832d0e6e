"""Ends: from placement to the end of the last container, whatever becomes of the object."""

from typing import Any, Final

from tests.scenarios.objects import container_status, terminated
from tests.scenarios.vocabulary import Case, Delete, Finish, Pod, Quota, Then, User, container, memory

WEEKLY: Final = {"weekly": memory(100)}
HALF: Final = container(requests={"memory": "512Mi"})
FOUR, FIVE, EIGHT = "2026-03-29T04:00:00Z", "2026-03-29T05:00:00Z", "2026-03-29T08:00:00Z"


def lived(name: str, aspects: tuple[str, ...], *pods: Pod, hours: float, runs: int = 0) -> Case:
    """Pods of Alice's with a GiB each came to so many hours, and so many run."""
    told = Quota(hours, 100, runs, blocked=() if not runs else None)
    return Case(name, aspects, WEEKLY, pods, {"alice": User(quotas={"weekly": told}, running=runs)})


def containers(**states: Any) -> dict[str, Any]:  # noqa: ANN401 - states of containers
    """The state of the only container, in a pod that runs."""
    status = container_status("containers-0", states["state"], restarts=3)
    return {"containerStatuses": [status | {"lastState": states.get("last", {})}]}


ENDS: Final = (
    lived(
        "a finished pod whose object lingers held until its container's end",
        ("S27", "5 lingering"),
        Pod("alice", -10, 3),
        hours=3,
    ),
    lived("a failed pod too", ("S27", "5 lingering"), Pod("alice", -10, 3, ended="Failed"), hours=3),
    lived(
        "a pod has ended when its last container has",
        ("S27",),
        Pod(
            "alice",
            -10,
            3,
            spec={"containers": [HALF, HALF]},
            status={
                "containerStatuses": [
                    container_status("containers-0", {"terminated": terminated(FIVE)}),
                    container_status("containers-1", {"terminated": terminated(FOUR)}),
                ]
            },
        ),
        hours=5,
    ),
    lived(
        "a container that will be restarted has not ended",
        ("S27",),
        Pod("alice", -10, status=containers(state={"terminated": terminated(EIGHT, 137)})),
        hours=10,
        runs=1,
    ),
    lived(
        "nor has one that crashes again and again",
        ("S27",),
        Pod(
            "alice",
            -10,
            status=containers(
                state={"waiting": {"reason": "CrashLoopBackOff"}}, last={"terminated": terminated(EIGHT, 1)}
            ),
        ),
        hours=10,
        runs=1,
    ),
    lived(
        "a pod that is gone held until it was",
        ("S27",),
        Pod("alice", -10, 3, ended="Deleted"),
        Pod("alice", -6, 1, ended="Deleted"),
        hours=4,
    ),
    Case(
        "a placed pod whose containers never ran ends at its deletion",
        ("S28", "6 without a restart", "7 material change"),
        WEEKLY,
        (Pod("alice", -10, name="stuck", status={"phase": "Pending"}),),
        {"alice": User(quotas={"weekly": Quota(10, 100, 1)}, running=1)},
        then=(Then((Delete("stuck"),), {"alice": User(quotas={"weekly": Quota(10, 100, 0, blocked=())}, running=0)}),),
    ),
    lived(
        "an evicted pod that tells no container's end ends when it is seen",
        ("S27", "S28"),
        Pod("alice", -10, ended="Vanished"),
        hours=10,
    ),
    lived("an end before the start is the receipt", ("S29",), Pod("alice", -10, -1), hours=10),
    lived("an end in the future is the receipt", ("S29",), Pod("alice", -10, 11), hours=10),
    Case(
        "an end up to five seconds ahead is only a kubelet's clock",
        ("S29",),
        {"hourly": memory(100, "1h")},
        (Pod("alice", -10, 10 + 5 / 3600),),
        {"alice": User(quotas={"hourly": Quota(1, 100)}, running=0)},
    ),
    Case(
        "a pod that never got placed holds nothing",
        ("S26", "5 never scheduled"),
        WEEKLY,
        (Pod("alice", None), Pod("bob", -1)),
        {"alice": User(quotas={"weekly": Quota(0, 100, 0)}, running=0)},
    ),
    lived(
        "a pod made again under the same name is another pod",
        ("5 same name",),
        Pod("alice", -10, 3, ended="Deleted", name="jupyter-alice"),
        Pod("alice", -6, 1, ended="Deleted", name="jupyter-alice"),
        Pod("alice", -2, name="jupyter-alice"),
        hours=6,
        runs=1,
    ),
    Case(
        "when a server stops, what was to come is taken back",
        ("S27", "6 without a restart", "7 material change"),
        {"weekly": memory(12)},
        (Pod("alice", -10, name="jupyter-alice"),),
        {"alice": User(quotas={"weekly": Quota(10, 12, 1, blocked=((2, None),))}, running=1)},
        then=(
            Then(
                (Finish("jupyter-alice", -0.5),),
                {"alice": User(quotas={"weekly": Quota(9.5, 12, 0, blocked=())}, running=0)},
            ),
            Then((Delete("jupyter-alice"),), {"alice": User(quotas={"weekly": Quota(9.5, 12, 0)}, running=0)}),
        ),
    ),
)
