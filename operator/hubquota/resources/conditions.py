"""Conditions as Kubernetes has them: what is so, why, and since when."""

from collections.abc import Sequence
from typing import Any

from hubquota.domain.pods import rfc3339

Json = dict[str, Any]


def condition(
    before: Sequence[Json], kind: str, *, holds: bool, reason: str, message: str, generation: int, now: int
) -> Json:
    """One condition. It keeps the instant of its last change where ``before`` told the same truth."""
    text = "True" if holds else "False"
    same = next((c for c in before if c.get("type") == kind and c.get("status") == text), None)
    return {
        "type": kind,
        "status": text,
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
        "lastTransitionTime": same["lastTransitionTime"] if same else rfc3339(now - now % 1_000_000),
    }


def with_conditions(before: Sequence[Json], *told: Json) -> list[Json]:
    """All conditions: those ``told`` now, and of those before the ones of other types."""
    types = {c["type"] for c in told}
    return [*told, *(c for c in before if c.get("type") not in types)]
