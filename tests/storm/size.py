"""What a storm is made of, all that its pods and kills hang on."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: How often each kind of part is killed, beside the others.
SHARES: Final = {"operator": 8, "kube-apiserver": 8, "etcd": 7, "postgres": 8, "fake-kubelet": 4}
#: Seconds of a storm for each kill: what parts need to come back on two cores, and to be of use until the next.
_SECONDS_A_KILL: Final = 1.4


class Database(StrEnum):
    """Where the ledger of a hub is."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, slots=True)
class Size:
    """``kills`` and ``pods`` in all; ``databases``: one hub with an operator of its own for each.

    Those on PostgreSQL share one database.
    """

    seed: int
    kills: int
    pods: int
    databases: tuple[Database, ...] = (Database.SQLITE,)

    @property
    def hubs(self) -> list[str]:
        """Their namespaces."""
        return [f"storm-{number}" for number in range(1, len(self.databases) + 1)]

    @property
    def parts(self) -> list[str]:
        """What is killed; each hub's own parts are named after it."""
        own = [part_of(kind, hub) for kind in ("operator", "fake-kubelet") for hub in self.hubs]
        return [*own, "kube-apiserver", "etcd", *(["postgres"] if Database.POSTGRESQL in self.databases else [])]

    @property
    def seconds(self) -> float:
        """Within which all pods are made."""
        return max(10.0, self.kills * _SECONDS_A_KILL)

    def pods_of_hubs(self) -> Iterator[int]:
        """How many pods each hub makes."""
        for place in range(hubs := len(self.databases)):
            yield self.pods // hubs + (place < self.pods % hubs)

    def __str__(self) -> str:
        databases = " ".join(self.databases)
        return f"--seed {self.seed} --kills {self.kills} --pods {self.pods} --hubs {databases}"


def part_of(kind: str, hub: str) -> str:
    """The name of a hub's own part."""
    return f"{kind} of {hub}"


def kind_of(part: str) -> str:
    """What kind of part it is, whosever."""
    return part.partition(" of ")[0]
