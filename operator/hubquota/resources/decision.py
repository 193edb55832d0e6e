"""What a hook says that it decided, in the annotation of an Event: docs/decisions-of-launches.md has the form.

Whoever may create Events in the hub's namespace can write one, so all of it is bounded.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from hubquota.domain.history import LARGEST, DecidingQuota, DecisionKind, DecisionRecord
from hubquota.domain.pods import micros
from hubquota.domain.windows import SECOND
from hubquota.resources.names import user_quota_name
from hubquota.resources.policy import Model
from hubquota.resources.user_quota import Instant
from hubquota.resources.wording import faults, printable

#: Who reports such an Event, by which others are not even read.
REPORTER: Final = "hubquota-hook"
ANNOTATION: Final = "hubquota.dev/decision"
#: Bytes of the annotation: 32 policies with long names fit.
LARGEST_ANNOTATION: Final = 16_384
#: How far a hub's clock may be ahead of the API server's, whose instants are whole seconds.
_AHEAD: Final = 5 * SECOND
KINDS: Final = {
    "refused": DecisionKind.REFUSED,
    "warned": DecisionKind.WARNED,
    "observed": DecisionKind.SHADOW_REFUSED,
    "failed-open": DecisionKind.FAILED_OPEN,
    "failed-closed": DecisionKind.FAILED_CLOSED,
}


class MalformedDecisionError(Exception):
    """An Event that tells of no decision that can be kept; the message says why."""


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL character, which no database keeps: leave it out")
    return text


def _past(text: str) -> str:
    if micros(text) < 0:
        raise ValueError("lies before 1970: write when it was decided")
    return text


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"is {kind[:20]}: write one of {', '.join(KINDS)}")
    return kind


STORABLE: Final = AfterValidator(_storable)
Text255 = Annotated[StrictStr, Field(max_length=255), STORABLE]
Resource = Annotated[StrictStr, Field(min_length=1, max_length=317), STORABLE]
Amount = Annotated[StrictStr, Field(pattern=r"^[0-9]{1,30}([.][0-9]{1,9})?$")]
Base = Annotated[StrictInt, Field(ge=0, le=LARGEST)]


class Told(Model):
    """What a newer hook says beside, an older operator passes over."""

    model_config = ConfigDict(extra="ignore")


class ToldQuota(Told):
    """A policy that decided, with its amounts as the user was told them."""

    policy: Annotated[StrictStr, Field(min_length=1, max_length=253), STORABLE]
    uid: Annotated[StrictStr, Field(max_length=64), STORABLE] = ""
    resource: Resource
    limit: Amount
    used: Amount | None = None
    unit: Annotated[StrictStr, Field(max_length=20), STORABLE]
    exhausted_until: Instant | None = None


class ToldDecision(Told):
    """One decision. Raises pydantic's ValidationError with what to write instead."""

    id: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{7,63}$")]
    at: Annotated[Instant, AfterValidator(_past)]
    kind: Annotated[StrictStr, AfterValidator(_known)]
    user: Annotated[StrictStr, Field(min_length=1, max_length=255), STORABLE]
    server: Text255 = ""
    request: Annotated[dict[Resource, Base], Field(max_length=32)] = Field(default_factory=dict)
    profile: Text255 = ""
    group: Text255 = ""
    quotas: Annotated[tuple[ToldQuota, ...], Field(max_length=32)] = ()
    reason: Annotated[StrictStr, Field(max_length=4096), STORABLE] = ""


def decision(event: Mapping[str, Any]) -> DecisionRecord:
    """The decision that an Event of the hub's namespace tells of. Raises MalformedDecisionError."""
    metadata, about = event["metadata"], event.get("involvedObject") or {}
    told = _told((metadata.get("annotations") or {}).get(ANNOTATION))
    if about.get("kind") != "UserQuota" or about.get("name") != user_quota_name(told.user):
        whose = printable(told.user)
        raise MalformedDecisionError(f"it is not about the UserQuota of user {whose}, {user_quota_name(told.user)}")
    at, noted = micros(told.at), micros(metadata["creationTimestamp"])
    return DecisionRecord(
        id=told.id,
        hub=metadata["namespace"],
        user=told.user,
        server=told.server,
        kind=KINDS[told.kind],
        # Of a clock that is ahead: when the API server took it in, or it would be the last for days.
        at=at if at <= noted + _AHEAD else noted,
        request=told.request,
        quotas=tuple(map(_quota, told.quotas)),
        message=told.reason,
        profile=told.profile,
        group=told.group,
    )


def _told(text: str | None) -> ToldDecision:
    if text is None:
        raise MalformedDecisionError(f"it has no annotation {ANNOTATION}")
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_ANNOTATION:
        raise MalformedDecisionError(f"{ANNOTATION} is larger than {LARGEST_ANNOTATION} bytes")
    try:
        return ToldDecision.model_validate_json(text)
    except ValidationError as error:
        raise MalformedDecisionError(faults(error).removeprefix("spec: ")[:1000]) from error


def _quota(told: ToldQuota) -> DecidingQuota:
    until = None if told.exhausted_until is None else micros(told.exhausted_until)
    return DecidingQuota(told.policy, told.uid, told.resource, told.limit, told.used or "", told.unit, until)
