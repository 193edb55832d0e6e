"""A pod history as JSON lines: one pod a line, in the form that docs/pod-history.md tells.

Reading gives back what was written, so that a replay counts what the ledger counts.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final, TextIO

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError
from pydantic.alias_generators import to_camel

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.domain.pods import micros, rfc3339

#: Of the form; a line of another one is refused.
VERSION: Final = 1
#: Faults that are told before it is said how many more there are.
_TOLD: Final = 5


class HistoryError(Exception):
    """A file cannot be read as a pod history; the message names file, line and what to write."""


def _instant(text: str) -> str:
    micros(text)
    return text


Instant = Annotated[StrictStr, AfterValidator(_instant)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class SegmentLine(_Model):
    """A stretch with one allocation of one resource: bytes of memory, else thousandths."""

    resource: StrictStr
    request: Annotated[StrictInt, Field(ge=0)]
    limit: Annotated[StrictInt, Field(ge=0)] | None = None
    start: Instant = Field(alias="from")
    end: Instant | None = Field(default=None, alias="to")


class PodLine(_Model):
    """One pod."""

    v: Annotated[StrictInt, Field(ge=VERSION, le=VERSION)] = VERSION
    uid: Annotated[StrictStr, Field(min_length=1)]
    cluster: StrictStr = "default"
    hub: StrictStr
    name: StrictStr
    user: StrictStr | None = None
    server: StrictStr | None = None
    groups: tuple[StrictStr, ...] = ()
    chosen_group: StrictStr | None = None
    component: StrictStr = ""
    component_name: StrictStr = ""
    instance_type: StrictStr = ""
    image: StrictStr = ""
    node: StrictStr | None = None
    node_labels: dict[StrictStr, StrictStr] | None = None
    hook_version: StrictStr = ""
    decision: StrictStr = ""
    scheduled: Instant
    finished: Instant | None = None
    how_ended: HowEnded | None = None
    gone_by: Instant | None = None
    deletion: Instant | None = None
    first_seen: Instant | None = None
    last_seen: Instant | None = None
    segments: tuple[SegmentLine, ...] = ()
    backfilled: StrictBool = False


#: Fields that stand in the record under the same name.
_ALIKE: Final = tuple(
    name for name in PodLine.model_fields if name in PodRecord.__dataclass_fields__ and name not in ("segments",)
)
_INSTANTS: Final = ("scheduled", "deletion", "first_seen", "last_seen")


def to_line(pod: PodRecord) -> str:
    """A pod as one line of JSON; names are escaped by it, so that none can touch a terminal."""
    told = {name: getattr(pod, name) for name in _ALIKE}
    told |= {name: rfc3339(at) for name in _INSTANTS if (at := getattr(pod, name)) is not None}
    if pod.end is not None:
        told |= {"finished": rfc3339(pod.end.at), "how_ended": pod.end.how}
        told |= {} if pod.end.bound is None else {"gone_by": rfc3339(pod.end.bound)}
    told["segments"] = [
        SegmentLine(
            resource=s.resource,
            request=s.request,
            limit=s.limit,
            start=rfc3339(s.start),
            end=None if s.end is None else rfc3339(s.end),
        )
        for s in pod.segments
    ]
    return json.dumps(PodLine.model_validate(told).model_dump(mode="json", by_alias=True, exclude_none=True))


def write(pods: Iterable[PodRecord], out: TextIO) -> int:
    """Write pods; returns how many."""
    count = 0
    for pod in pods:
        print(to_line(pod), file=out)
        count += 1
    return count


def read(path: Path) -> list[PodRecord]:
    """All pods of a file; of one that is told twice, the last counts. Raises HistoryError, naming the first faults."""
    found: dict[str, PodRecord] = {}
    faults: list[str] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    if line.strip():
                        pod = from_line(line)
                        found[pod.uid] = pod
                except ValueError as fault:
                    faults.append(f"line {number}: {_words(fault)}")
    except (OSError, UnicodeDecodeError) as fault:
        raise HistoryError(f"{path} cannot be read: {fault}") from fault
    if faults:
        more = f"; and {len(faults) - _TOLD} more lines" if len(faults) > _TOLD else ""
        raise HistoryError(f"{path} is not a pod history: {'; '.join(faults[:_TOLD])}{more}")
    return list(found.values())


def from_line(line: str) -> PodRecord:
    """One pod. Raises ValueError (pydantic's too) where it is none."""
    told = PodLine.model_validate(json.loads(line))
    start = micros(told.scheduled)
    end = _end(told)
    seen = end.at if end else start
    return PodRecord(
        **{name: getattr(told, name) for name in _ALIKE if name not in _INSTANTS},
        scheduled=start,
        deletion=None if told.deletion is None else micros(told.deletion),
        first_seen=start if told.first_seen is None else micros(told.first_seen),
        last_seen=max(start, seen) if told.last_seen is None else micros(told.last_seen),
        end=end,
        segments=tuple(_segments(told)),
    )


def _end(told: PodLine) -> PodEnd | None:
    if told.finished is None:
        return None
    bound = None if told.gone_by is None else micros(told.gone_by)
    return PodEnd(micros(told.finished), told.how_ended or HowEnded.CONTAINERS, bound)


def _segments(told: PodLine) -> Iterator[SegmentRecord]:
    for s in told.segments:
        yield SegmentRecord(s.resource, s.request, s.limit, micros(s.start), None if s.end is None else micros(s.end))


def _words(fault: ValueError) -> str:
    if isinstance(fault, ValidationError):
        return ", ".join(f"{'.'.join(map(str, e['loc'])) or 'pod'}: {e['msg']}" for e in fault.errors()[:_TOLD])
    if isinstance(fault, json.JSONDecodeError):
        return f"not JSON ({fault.msg}): write one object a line"
    return str(fault)
