"""UserQuota as pydantic sees it: it accepts and refuses the same objects as the CRD, which a test proves.

The operator reads every UserQuota through ``UserQuotaSpec``, for an older CRD may have let anything through.
"""

import re
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StrictStr, model_validator

from hubquota.resources.policy import Model

#: RFC 3339 without what only a lenient reader takes: small t and z, a leap second, an offset of more than 14 hours.
_INSTANT: Final = re.compile(
    r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]{1,9})?"
    r"(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"
)


def _instant(text: str) -> str:
    if not _INSTANT.fullmatch(text):
        raise ValueError("must be an instant with a zone: write it such as 2026-09-01T00:00:00Z")
    date.fromisoformat(text[:10])
    return text


def _storable(name: str) -> str:
    if "\0" in name:
        raise ValueError("holds a NUL character, which no database keeps: rename it in the hub")
    return name


def _unique(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names a group twice: write each once")
    return names


def _one_of_each_type(conditions: "tuple[Condition, ...]") -> "tuple[Condition, ...]":
    if len({c.type for c in conditions}) < len(conditions):
        raise ValueError("tells a condition twice: write each type once")
    return conditions


def _without_null(amounts: object) -> object:
    return {k: v for k, v in amounts.items() if v is not None} if isinstance(amounts, dict) else amounts


class Part(Model):
    """Frozen, knows every field, and takes null for what is not there, as the API server does."""

    model_config = ConfigDict(populate_by_name=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        known = {field.alias for field in cls.model_fields.values()}
        return {name: value for name, value in given.items() if value is not None or name not in known}


Instant = Annotated[StrictStr, AfterValidator(_instant)]
Generation = Annotated[int, Field(strict=True, ge=-(2**63), lt=2**63)]
Name = Annotated[StrictStr, Field(min_length=1, max_length=255), AfterValidator(_storable)]
Amount = Annotated[StrictStr, Field(max_length=40)]
Word = Annotated[StrictStr, Field(max_length=63)]
Text20 = Annotated[StrictStr, Field(max_length=20)]
Text253 = Annotated[StrictStr, Field(max_length=253)]
Text255 = Annotated[StrictStr, Field(max_length=255)]
Names200 = Annotated[tuple[Text253, ...], Field(max_length=200)]


class UserQuotaSpec(Part):
    """What the hub says of a user. Raises pydantic's ValidationError with what to write instead."""

    user: Name
    groups: Annotated[tuple[Name, ...], Field(max_length=256), AfterValidator(_unique)] = ()
    groups_observed_at: Instant | None = None


class FixedWindow(Part):
    """Start and end of an event's budget."""

    start: Amount | None = None
    end: Amount | None = None


class QuotaWindow(Part):
    """The window of a quota, as in its policy."""

    rolling: Text20 | None = None
    calendar: Annotated[StrictStr, Field(max_length=10)] | None = None
    time_zone: Annotated[StrictStr, Field(max_length=64)] | None = None
    week_start: Annotated[StrictStr, Field(max_length=10)] | None = None
    fixed: FixedWindow | None = None


class Stretch(Part):
    """A stretch ahead in which a quota is used up. ``until`` None: no end is in sight."""

    start: Annotated[Instant, Field(alias="from")]
    until: Instant | None = None


class Vertex(Part):
    """Usage at an instant ahead."""

    at: Instant
    used: Amount


class QuotaWeight(Part):
    """What an hour of a resource costs in credits."""

    resource: Annotated[StrictStr, Field(max_length=317)]
    per_hour: Amount


class QuotaStatus(Part):
    """One quota at the instant that its status speaks for."""

    name: Text253 | None = None
    policies: Names200
    deciding: Annotated[int, Field(strict=True, ge=1, le=200)] | None = None
    resource: Annotated[StrictStr, Field(max_length=317)]
    window: QuotaWindow | None = None
    base: Amount | None = None
    limit: Amount
    weights: Annotated[tuple[QuotaWeight, ...], Field(max_length=16)] = ()
    used: Amount | None = None
    held: Amount | None = None
    unit: Text20
    per_hour: Amount | None = None
    covered_since: Instant | None = None
    blocked: Annotated[tuple[Stretch, ...], Field(max_length=8)] = ()
    foreseen_until: Instant | None = None
    blocked_if_stopped: Annotated[tuple[Stretch, ...], Field(max_length=8)] = ()
    forecast: Annotated[tuple[Vertex, ...], Field(max_length=16)] = ()
    enforcement: Text20
    except_profiles: Annotated[tuple[Text255, ...], Field(max_length=100)] = ()
    warn_at: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    message: Annotated[StrictStr, Field(max_length=4096)] = ""
    group: Text255 | None = None


class RunningPod(Part):
    """What one pod holds now. ``server`` None: it is no server; empty: the user's default one."""

    server: Text255 | None = None
    pod: Text253
    since: Instant
    allocation: Annotated[dict[str, Amount], Field(max_length=32), BeforeValidator(_without_null)] = Field(
        default_factory=dict
    )


class StorageStatus(Part):
    """Size of the home directory."""

    used: Amount | None = None
    limit: Amount | None = None
    as_of: Instant | None = None


class LastRefusal(Part):
    """The user's last launch that was refused."""

    at: Instant
    server: Text255 | None = None
    policies: Annotated[tuple[Text253, ...], Field(max_length=16)] = ()
    reason: Annotated[StrictStr, Field(max_length=1024)] = ""


class Condition(Part):
    """What is so, why, and since when."""

    type: Word
    status: Literal["True", "False", "Unknown"]
    observed_generation: Generation | None = None
    reason: Word
    message: Annotated[StrictStr, Field(max_length=2048)]
    last_transition_time: Instant


class UserQuotaStatus(Part):
    """Where the user stands, as of ``as_of``."""

    observed_generation: Generation | None = None
    as_of: Instant | None = None
    foreseen_until: Instant | None = None
    decision: Text20 = ""
    summary: Annotated[StrictStr, Field(max_length=1000)] = ""
    quotas: Annotated[tuple[QuotaStatus, ...], Field(max_length=200)] = ()
    pools: Names200 = ()
    running: Annotated[tuple[RunningPod, ...], Field(max_length=100)] = ()
    pending: Annotated[tuple[Text255, ...], Field(max_length=100)] = ()
    storage: StorageStatus | None = None
    last_refusal: LastRefusal | None = None
    conditions: Annotated[tuple[Condition, ...], Field(max_length=16), AfterValidator(_one_of_each_type)] = ()
