"""QuotaPolicy as pydantic sees it: it accepts and refuses the same objects as the CRD, which a test proves.

The API server judges first; these models are for objects that an older CRD let through, and for files read offline.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic.alias_generators import to_camel

from hubquota.domain import windows
from hubquota.domain.measure import CREDITS, Measure, credits_by
from hubquota.domain.pods import micros
from hubquota.domain.policy import Combine, Enforcement, Policy, Scope
from hubquota.domain.units import to_base
from hubquota.domain.windows import Calendar, Period, rolling

_LARGEST: Final = 1_000_000_000_000
_RESOURCE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_ZONE: Final = re.compile(r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_INSTANT: Final = re.compile(
    r"[12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"
)
_OWN: Final = ("memory", "cpu", "servers", "credits", "storage")
_UNITS: Final = {
    "memory": ("MiB-hours", "GiB-hours", "TiB-hours"),
    "cpu": ("CPU-hours",),
    "credits": ("credits",),
    "storage": ("GiB", "TiB"),
}
#: The unit in which usage is told where an unlimited policy names none; extended resources are told in device-hours.
_NATURAL: Final = {
    "memory": "GiB-hours", "cpu": "CPU-hours", "servers": "hours", "credits": "credits", "storage": "GiB"
}  # fmt: skip


class Model(BaseModel):
    """Frozen, and as strict as the API server with ``fieldValidation=Strict``."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("names something twice: write each once")
    return values


def _resource(name: str) -> str:
    if name not in _OWN and not _RESOURCE.fullmatch(name):
        raise ValueError(f"resource must be {', '.join(_OWN)}, or an extended resource such as nvidia.com/gpu")
    return name


def _weighted(name: str) -> str:
    if name in ("credits", "storage"):
        raise ValueError("a weight's resource must be memory, cpu, servers, or an extended resource")
    return _resource(name)


def _amount(digits: int) -> AfterValidator:
    grammar = re.compile(rf"[0-9]{{1,{digits}}}(?:[.][0-9]{{1,9}})?")

    def check(value: int | str) -> int | str:
        right = 0 <= value <= 10**digits if isinstance(value, int) else grammar.fullmatch(value)
        if not right:
            raise ValueError('must be 0 or more: write a whole number, or a decimal in quotes such as "0.5"')
        return value

    return AfterValidator(check)


def _rolling(text: str) -> str:
    rolling(text)
    return text


def _zone(name: str) -> str:
    try:
        if name != "Local" and _ZONE.fullmatch(name) and ZoneInfo(name):
            return name
    except (OSError, ValueError, LookupError):
        pass
    raise ValueError("timeZone must be a zone of the IANA database: write a name such as Europe/Berlin or UTC")


def _instant(text: str) -> str:
    if not _INSTANT.fullmatch(text) or text[5:10] == "02-29":
        raise ValueError("must be an instant with a zone: write it such as 2026-09-01T00:00:00Z (not 29 February)")
    datetime.fromisoformat(text)
    return text


Name = Annotated[StrictStr, Field(min_length=1, max_length=255)]
Names = Annotated[tuple[Name, ...], Field(max_length=1000), AfterValidator(_unique)]
Profiles = Annotated[tuple[Name, ...], Field(max_length=100), AfterValidator(_unique)]
Instant = Annotated[StrictStr, Field(max_length=25), AfterValidator(_instant)]


class ScopeSpec(Model):
    """Whom a policy holds for."""

    users: Names = ()
    groups: Names = ()
    everyone: StrictBool = False
    fallback: StrictBool = False

    @model_validator(mode="after")
    def _says_who(self) -> Self:
        if sum((bool(self.users or self.groups), self.everyone, self.fallback)) != 1:
            raise ValueError(
                "scope must say who: write users and/or groups, or everyone: true, or fallback: true, "
                "and only one of these"
            )
        return self


class Weight(Model):
    """Credits for an hour of one GiB, CPU, device or server."""

    resource: Annotated[StrictStr, Field(max_length=317), AfterValidator(_weighted)]
    per_hour: Annotated[StrictInt | StrictStr, _amount(9)]


class Limit(Model):
    """How much, or ``unlimited``."""

    value: Annotated[StrictInt | StrictStr, _amount(12)] | None = None
    unit: (
        Literal[
            "MiB-hours", "GiB-hours", "TiB-hours", "CPU-hours", "device-hours", "GPU-hours",
            "hours", "servers", "credits", "GiB", "TiB",
        ]
        | None
    ) = None  # fmt: skip
    unlimited: StrictBool = False

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if self.unlimited == (self.value is not None):
            raise ValueError("limit must say how much: write value and unit, or unlimited: true")
        if (self.value is None) != (self.unit is None):
            raise ValueError("value and unit go together: write both, such as value: 1000 and unit: GiB-hours")
        return self


class Fixed(Model):
    """An event's budget."""

    start: Instant
    end: Instant

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if datetime.fromisoformat(self.start) >= datetime.fromisoformat(self.end):
            raise ValueError("fixed must end after it starts: write an end that is later than start")
        return self


class Window(Model):
    """The time over which usage is summed: one of three forms."""

    rolling: Annotated[StrictStr, Field(max_length=20), AfterValidator(_rolling)] | None = None
    calendar: Literal["Day", "Week", "Month", "Quarter", "Year"] | None = None
    time_zone: Annotated[StrictStr, Field(max_length=64), AfterValidator(_zone)] | None = None
    week_start: Literal["Monday", "Sunday"] | None = None
    fixed: Fixed | None = None

    @model_validator(mode="after")
    def _has_one_form(self) -> Self:
        if sum(form is not None for form in (self.rolling, self.calendar, self.fixed)) != 1:
            raise ValueError("window must have exactly one form: write rolling, or calendar with timeZone, or fixed")
        if (self.calendar is None) != (self.time_zone is None):
            raise ValueError("calendar and timeZone go together: write both")
        if self.week_start is not None and self.calendar != "Week":
            raise ValueError("weekStart belongs to calendar: Week alone")
        return self


class PolicySpec(Model):
    """What an admin wrote. Raises pydantic's ValidationError with what to write instead."""

    scope: ScopeSpec
    resource: Annotated[StrictStr, Field(max_length=317), AfterValidator(_resource)]
    weights: Annotated[tuple[Weight, ...], Field(min_length=1, max_length=16)] | None = None
    limit: Limit
    window: Window | None = None
    sharing: Literal["PerUser", "Shared"] = "PerUser"
    combine: Literal["Min", "Max", "Sum", "Override"] | None = None
    enforcement: Literal["Deny", "Warn", "Observe"] | None = None
    except_profiles: Profiles = ()
    warn_at: Annotated[StrictInt, Field(ge=1, le=100)] = 90
    message: Annotated[StrictStr, Field(max_length=1000)] = ""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        broken = [text for fault, text in self._rules() if fault]
        if broken:
            raise ValueError("; ".join(broken))
        return self

    def _rules(self) -> Sequence[tuple[bool, str]]:
        """The cross-field rules of the CRD, in its order: whether each is broken, and what to write instead."""
        storage, at_once = self.resource == "storage", self.resource == "servers" and self.window is None
        shared = self.sharing == "Shared"
        listed = [w.resource for w in self.weights or ()]
        return (
            (
                (self.resource == "credits") != bool(self.weights),
                "write weights for credits, and for no other resource",
            ),
            (len(set(listed)) < len(listed), "weights name a resource twice: write each once"),
            (
                self.limit.unit not in (None, *self._fitting()),
                f"unit {self.limit.unit} does not fit {self.resource}: write {' or '.join(self._fitting())}",
            ),
            (
                self.limit.unit == "servers" and not str(self.limit.value).isdecimal(),
                "servers are counted whole: write a whole number as value",
            ),
            (bool(self.window) == storage if self.resource != "servers" else False, "write a window, but for storage"),
            (self.limit.unlimited and self.combine != "Override", "unlimited takes combine: Override"),
            (shared and self.combine is not None, "a Shared pool does not combine: leave combine out"),
            (shared and self.scope.fallback, "a Shared pool needs users, groups or everyone: true in scope"),
            (shared and (storage or at_once), "storage and servers counted at once take sharing: PerUser"),
            (
                storage and self.enforcement is None,
                "storage must say what a full home directory does: write enforcement: Warn, Observe or Deny",
            ),
            (
                storage and self.enforcement == "Deny" and not self.except_profiles,
                "whoever is refused for storage must still reach the files to delete: write exceptProfiles",
            ),
        )

    def _fitting(self) -> tuple[str, ...]:
        """The units that fit the resource."""
        if self.resource == "servers":
            return ("hours",) if self.window else ("servers",)
        if self.resource in _UNITS:
            return tuple(_UNITS[self.resource])
        is_gpu = "gpu" in self.resource or self.resource.startswith("nvidia.com/")
        return ("device-hours", "GPU-hours") if is_gpu else ("device-hours",)


def to_policy(name: str, spec: PolicySpec) -> Policy:
    """The policy as the engine takes it."""
    unit = spec.limit.unit or ""
    return Policy(
        name=name,
        scope=Scope(
            frozenset(spec.scope.users), frozenset(spec.scope.groups), spec.scope.everyone, spec.scope.fallback
        ),
        measure=_measure(spec),
        limit=None if spec.limit.value is None else to_base(str(spec.limit.value), unit),
        unit=unit or _NATURAL.get(spec.resource, "device-hours"),
        window=None if spec.window is None else _window(spec.window),
        shared=spec.sharing == "Shared",
        combine=Combine(spec.combine or "Min"),
        enforcement=Enforcement(spec.enforcement or "Deny"),
        except_profiles=frozenset(spec.except_profiles),
        warn_at=spec.warn_at,
        message=spec.message,
    )


def _measure(spec: PolicySpec) -> Measure:
    if spec.resource != CREDITS:
        return Measure(spec.resource)
    return credits_by({weight.resource: str(weight.per_hour) for weight in spec.weights or ()})


def _window(spec: Window) -> windows.Window:
    if spec.rolling is not None:
        return rolling(spec.rolling)
    if spec.fixed is not None:
        return windows.Fixed(micros(spec.fixed.start), micros(spec.fixed.end))
    return Calendar(Period(spec.calendar or ""), spec.time_zone or "", spec.week_start == "Sunday")
