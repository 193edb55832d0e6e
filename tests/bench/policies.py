"""The policies that a made-up hub is measured by, as an admin writes them."""

from collections.abc import Mapping
from typing import Any, Final

from hubquota.domain.policy import Policy
from hubquota.resources.policy import PolicySpec, to_policy

EVERYONE: Final = {"everyone": True}
WEIGHTS: Final = [
    {"resource": "cpu", "perHour": 1},
    {"resource": "memory", "perHour": "0.25"},
    {"resource": "nvidia.com/gpu", "perHour": 30},
]


def rolling(text: str) -> dict[str, str]:
    """A rolling window."""
    return {"rolling": text}


def calendar(period: str, zone: str) -> dict[str, str]:
    """A period of a calendar."""
    return {"calendar": period, "timeZone": zone}


def spec(name: str, resource: str, unit: str, window: Mapping[str, Any], value: object = 40, **more: object) -> Any:  # noqa: ANN401
    """A policy of everyone, or as ``more`` says."""
    limit = {"value": value, "unit": unit}
    made = {"name": name, "scope": EVERYONE, "resource": resource, "limit": limit, "window": dict(window)}
    return made | ({"weights": WEIGHTS} if resource == "credits" else {}) | more


def pool(name: str, resource: str, unit: str, window: Mapping[str, Any], scope: object, value: object = 40) -> Any:  # noqa: ANN401
    """A Shared policy."""
    return spec(name, resource, unit, window, value, scope=scope, sharing="Shared")


def engine(made: Mapping[str, Any]) -> Policy:
    """As the engine takes it."""
    return to_policy(made["name"], PolicySpec.model_validate({k: v for k, v in made.items() if k != "name"}))


PER_USER: Final = (
    spec("memory-7d", "memory", "GiB-hours", rolling("7d")),
    spec("memory-30d", "memory", "TiB-hours", rolling("30d")),
    spec("cpu-7d", "cpu", "CPU-hours", rolling("7d")),
    spec("cpu-30d", "cpu", "CPU-hours", rolling("30d")),
    spec("gpu-30d", "nvidia.com/gpu", "GPU-hours", rolling("30d")),
    spec("mig-7d", "nvidia.com/mig-1g.5gb", "device-hours", rolling("7d")),
    spec("credits-7d", "credits", "credits", rolling("7d")),
    spec("memory-month", "memory", "GiB-hours", calendar("Month", "Europe/Berlin")),
    spec("memory-week", "memory", "GiB-hours", calendar("Week", "Europe/Berlin")),
    spec("cpu-day-cairo", "cpu", "CPU-hours", calendar("Day", "Africa/Cairo")),
    spec("cpu-day-sao-paulo", "cpu", "CPU-hours", calendar("Day", "America/Sao_Paulo")),
)
POOLS: Final = (
    pool("everyone-30d", "memory", "TiB-hours", rolling("30d"), EVERYONE),
    pool("staff-7d", "memory", "GiB-hours", rolling("7d"), {"groups": ["staff"]}),
    pool("courses-month", "cpu", "CPU-hours", calendar("Month", "Europe/Berlin"), {"groups": ["course-0", "course-1"]}),
    pool("research-gpu", "nvidia.com/gpu", "GPU-hours", rolling("30d"), {"groups": ["research"], "users": ["alice"]}),
    pool("some-credits", "credits", "credits", rolling("7d"), {"users": ["alice", "student1", "李雷"]}),
)
