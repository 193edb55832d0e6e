"""Kubernetes' own word on what a quantity means and what a pod holds (tests/testbed/go/kubernetes/oracle)."""

import json
import select
import subprocess
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

#: It answers in microseconds; one that is silent for so long hangs, as apimachinery does on some exponents.
_PATIENCE: Final = 60.0


class QuantityAnswer(NamedTuple):
    """``value``: exactly, as a number and an exponent. ``units``: rounded to base units, meaningless beyond 64 bits."""

    value: str
    units: int

    def exact(self) -> Fraction:
        """The value as a number; not for huge exponents, which would fill the memory."""
        return Fraction(self.value)


class PodAnswer(NamedTuple):
    """The pod as the API server would store it, and what the scheduler then counts it for, in base units."""

    stored: dict[str, Any]
    requests: dict[str, int]


class Oracle:
    """The running program; one question at a time."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def quantity(self, text: str, resource: str = "cpu") -> QuantityAnswer | None:
        """What ``resource.ParseQuantity`` makes of the text; None: it refuses it."""
        told = self._ask({"quantity": text, "resource": resource})
        return None if "refused" in told else QuantityAnswer(told["value"], told["units"])

    def pod(self, pod: Mapping[str, Any]) -> PodAnswer:
        """What the pod holds; resources of which it holds nothing are absent."""
        told = self._ask({"pod": pod})
        return PodAnswer(told["stored"], {resource: units for resource, units in told["requests"].items() if units})

    def _ask(self, question: Mapping[str, Any]) -> dict[str, Any]:
        asked, told = self._process.stdin, self._process.stdout
        assert asked is not None
        assert told is not None
        asked.write(json.dumps(question).encode() + b"\n")
        asked.flush()
        if not select.select([told], [], [], _PATIENCE)[0]:
            raise TimeoutError(f"no answer within {_PATIENCE:.0f} s to {question}")
        line = told.readline()
        if not line:
            raise RuntimeError(f"the oracle ended (its last words are on stderr) when asked {question}")
        answer: dict[str, Any] = json.loads(line)
        return answer
