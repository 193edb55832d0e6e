"""What a fake kubelet is to do with a pod, told by an annotation on it."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, Self

from tests.testbed.rest import Json

LIFE: Final = "testbed.hubquota.dev/life"


class Step(StrEnum):
    """What happens to a pod that runs."""

    RESTART = "restart"
    """Its container ends and starts again: the pod goes on."""
    FINISH = "finish"
    """Its container ends, and is not started again."""
    FAIL = "fail"
    """The same, with an exit code that is not 0."""
    EVICT = "evict"
    """The kubelet ends it, for want of memory or disk."""
    REJECT = "reject"
    """The kubelet lets it fail and tells of no container: a device is gone after the node's restart."""
    LOSE = "lose"
    """Its node is lost: nothing is told of it any more, whatever happens."""


@dataclass(frozen=True, slots=True)
class Life:
    """The life of one pod on its node.

    ``placed``: whether a node takes it at all; ``started``: whether its containers ever run. ``takes``: seconds that
    they take to end when the pod is deleted. ``steps``: what happens, and how many seconds after the placement.
    """

    placed: bool = True
    started: bool = True
    takes: float = 0
    steps: tuple[tuple[float, Step], ...] = ()

    @classmethod
    def of(cls, pod: Json) -> Self:
        """What is told on a pod; a server's life where nothing is."""
        told = json.loads((pod["metadata"].get("annotations") or {}).get(LIFE, "{}"))
        steps = tuple((after, Step(step)) for after, step in told.pop("steps", ()))
        return cls(steps=steps, **told)

    def annotation(self) -> str:
        """The same as it is told on a pod."""
        return json.dumps(asdict(self))
