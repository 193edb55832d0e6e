"""Whose a pod is, as its annotations say it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

USERNAME: Final = "hub.jupyter.org/username"
SERVERNAME: Final = "hub.jupyter.org/servername"
PRIMEHUB: Final = "primehub.io/usage"
_OURS: Final = "hubquota.dev/"
#: A pod without any of these is nobody's that we know.
MARKS: Final = (USERNAME, PRIMEHUB, f"{_OURS}user", f"{_OURS}groups", f"{_OURS}group")
#: All annotations that are read.
ANNOTATIONS: Final = (
    *MARKS,
    SERVERNAME,
    *(f"{_OURS}{name}" for name in ("component", "component-name", "instance-type", "decision")),
)
_DEFAULT_SERVER: Final = ""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Whose a pod is and what for, under the names that a PodRecord has for it."""

    user: str | None
    server: str | None
    groups: tuple[str, ...]
    chosen_group: str | None
    component: str
    component_name: str
    instance_type: str
    decision: str


def attributed(marks: Mapping[str, str]) -> Attribution:
    """What a pod's annotations say. Raises ValueError or TypeError where one that should be JSON is not."""
    told = _primehub(marks)
    groups = json.loads(marks.get(f"{_OURS}groups", "[]"))
    return Attribution(
        user=marks.get(USERNAME) or marks.get(f"{_OURS}user") or told.get("user") or None,
        server=marks.get(SERVERNAME, _DEFAULT_SERVER) if USERNAME in marks else None,
        groups=tuple(str(group) for group in groups),
        chosen_group=marks.get(f"{_OURS}group") or told.get("group") or None,
        component=marks.get(f"{_OURS}component") or told.get("component", ""),
        component_name=marks.get(f"{_OURS}component-name") or told.get("component_name", ""),
        instance_type=marks.get(f"{_OURS}instance-type") or told.get("instance_type", ""),
        decision=marks.get(f"{_OURS}decision", ""),
    )


def _primehub(marks: Mapping[str, str]) -> dict[str, str]:
    """PrimeHub's annotation. Raises ValueError or TypeError where it is not a JSON object."""
    told = json.loads(marks.get(PRIMEHUB, "{}"))
    if not isinstance(told, dict):
        raise TypeError(f"{PRIMEHUB} is not a JSON object")
    return {str(key): str(value) for key, value in told.items() if value is not None}
