"""What servers ask for, as their pods say it, and, worked out by hand, what they hold as the scheduler counts it."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

GIB: Final = 2**30
MIB: Final = 2**20


class Profile(NamedTuple):
    """``spec``: what goes into a pod's spec. ``held``: base units (bytes, thousandths)."""

    name: str
    spec: Mapping[str, Any]
    held: Mapping[str, int]


def _main(requests: Mapping[str, str], limits: Mapping[str, str] | None = None) -> dict[str, Any]:
    told = {"requests": dict(requests)} if requests else {}
    return {"name": "notebook", "image": "quay.io/jupyter/scipy-notebook:2026-03-02", "resources": told} | (
        {"resources": told | {"limits": dict(limits)}} if limits else {}
    )


def _other(name: str, requests: Mapping[str, str], **more: str) -> dict[str, Any]:
    return {"name": name, "image": f"example.org/{name}:1", "resources": {"requests": dict(requests)}} | more


PROFILES: Final = (
    Profile("small", {"containers": [_main({"memory": "1Gi", "cpu": "500m"})]}, {"memory": GIB, "cpu": 500}),
    Profile("medium", {"containers": [_main({"memory": "4G", "cpu": "1.5"})]}, {"memory": 4 * 10**9, "cpu": 1500}),
    # A request missing beside a limit is the limit.
    Profile(
        "limited",
        {"containers": [_main({"cpu": "250m"}, {"memory": "2Gi", "cpu": "2"})]},
        {"memory": 2 * GIB, "cpu": 250},
    ),
    # A sidecar runs beside the notebook; a first step that needs less than they do counts for nothing.
    Profile(
        "large",
        {
            "containers": [_main({"memory": "32Gi", "cpu": "8"})],
            "initContainers": [
                _other("sync", {"memory": "64Mi", "cpu": "100m"}, restartPolicy="Always"),
                _other("chown", {"memory": "1Gi", "cpu": "1"}),
            ],
        },
        {"memory": 32 * GIB + 64 * MIB, "cpu": 8100},
    ),
    # A first step that needs more than what runs then is what the pod holds.
    Profile(
        "unpacking",
        {
            "containers": [_main({"memory": "512Mi", "cpu": "250m"})],
            "initContainers": [_other("unpack", {"memory": "3Gi", "cpu": "100m"})],
        },
        {"memory": 3 * GIB, "cpu": 250},
    ),
    Profile(
        "gpu",
        {
            "containers": [_main({"memory": "16Gi", "cpu": "4"}, {"nvidia.com/gpu": "1"})],
            "overhead": {"memory": "120Mi", "cpu": "250m"},
        },
        {"memory": 16 * GIB + 120 * MIB, "cpu": 4250, "nvidia.com/gpu": 1000},
    ),
    Profile(
        "mig",
        {"containers": [_main({"memory": "8Gi", "cpu": "2"}, {"nvidia.com/mig-1g.5gb": "2"})]},
        {"memory": 8 * GIB, "cpu": 2000, "nvidia.com/mig-1g.5gb": 2000},
    ),
    # What is asked for the whole pod stands for the sum of its containers.
    Profile(
        "shared",
        {
            "containers": [_main({"memory": "1Gi"}), _other("database", {"memory": "1Gi"})],
            "resources": {"requests": {"memory": "6Gi", "cpu": "3"}},
        },
        {"memory": 6 * GIB, "cpu": 3000},
    ),
    Profile("no-cpu", {"containers": [_main({"memory": "1500M"})]}, {"memory": 1500 * 10**6}),
    Profile("nothing", {"containers": [_main({})]}, {}),
    Profile("worker", {"containers": [_main({"memory": "2Gi", "cpu": "1"})]}, {"memory": 2 * GIB, "cpu": 1000}),
    Profile("grown", {"containers": [_main({"memory": "3Gi", "cpu": "1"})]}, {"memory": 3 * GIB, "cpu": 1000}),
    Profile("grown-more", {"containers": [_main({"memory": "5Gi", "cpu": "1"})]}, {"memory": 5 * GIB, "cpu": 1000}),
)
PLACES: Final = {profile.name: place for place, profile in enumerate(PROFILES)}
