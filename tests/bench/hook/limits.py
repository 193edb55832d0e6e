"""The policies of both, from which none of a user's quotas is merged with another."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from tests.bench.history import HUB
from tests.bench.policies import rolling, spec

#: The group that every user is in: the peer has no policy for everyone.
GROUP: Final = "everyone"
_UNITS: Final = {"memory": "GiB-hours", "cpu": "CPU-hours"}
#: Resource and days of each policy; a hub with fewer has the first of them.
KINDS: Final = (
    ("memory", 7),
    ("cpu", 30),
    ("memory", 30),
    ("cpu", 7),
    ("memory", 14),
    ("cpu", 14),
    ("memory", 3),
    ("cpu", 3),
    ("memory", 1),
    ("cpu", 1),
)


class Limit(NamedTuple):
    """A policy: GiB-hours of memory, or CPU-hours, in so many days."""

    resource: str
    days: int
    value: int

    @property
    def name(self) -> str:
        """As our policy is called."""
        return f"{self.resource}-{self.days}d"

    def ours(self) -> Any:  # noqa: ANN401 - JSON
        """As an admin of ours writes it, with its name."""
        window, scope = rolling(f"{self.days}d"), {"groups": [GROUP]}
        return spec(self.name, self.resource, _UNITS[self.resource], window, self.value, scope=scope)

    def peers(self) -> dict[str, Any]:
        """As an admin of the peer writes it. It reads a G of CPU as 100,000, so there is none."""
        limit = f"{self.value}G" if self.resource == "memory" else self.value
        return {"resource": self.resource, "limit": limit, "window": self.days, "scope": {"group": [GROUP]}}


def settings_of_peer(limits: Sequence[Limit], url: str) -> dict[str, Any]:
    """Its configuration. What it exports to Prometheus every minute, user by user, is left out, in its favour."""
    return {
        "prometheus_url": url,
        "hub_namespace": HUB,
        "policy": [limit.peers() for limit in limits],
        "scope_fallback_strategy": {"intersection": "min"},
        "prometheus_emit_interval": 86_400,
        "hub_url": "http://127.0.0.1:9",
        "metrics_exporter_token": "none",
        "failover_open": True,
    }
