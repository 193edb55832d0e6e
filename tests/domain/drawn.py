"""Cases for a second opinion on the engine: pods and policies near the moments at which clocks are changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from hypothesis import strategies as st

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.domain.launch import Launch
from hubquota.domain.metering import Meter
from hubquota.domain.policy import Policy
from hubquota.domain.windows import SECOND
from hubquota.resources.policy import PolicySpec, to_policy
from tests.domain import naive
from tests.domain.naive import Held

USER: Final = "alice"
Window = dict[str, Any]
#: Where clocks are changed, or a date begins: the zone, and the instant.
MOMENTS: Final = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),  # there is no midnight
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z"),  # at midnight it is 23:00 once more
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),  # by half an hour
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z"),  # there is no midnight
    ("Africa/Cairo", "2026-10-29T21:00:00Z"),  # at midnight it is 23:00 once more
    ("America/Nuuk", "2024-03-31T01:00:00Z"),  # from 23:00 to midnight
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),  # there is no such day
    ("Asia/Kathmandu", "2026-04-30T18:15:00Z"),  # the first of a month
    ("Asia/Kathmandu", "1985-12-31T18:30:00Z"),  # a year begins at 00:15
]
#: Multiples of 3.6 CPUs make whole thousandths of a CPU-hour each second, so that limits are met exactly.
ALLOCATIONS: Final = [
    {"cpu": 3600, "memory": 2**30},
    {"cpu": 7200, "memory": 3 * 2**29, "nvidia.com/gpu": 1000},
    {"cpu": 333, "memory": 7},
    {"memory": 2**34},
]
UNITS: Final = {
    "cpu": "CPU-hours",
    "memory": "GiB-hours",
    "nvidia.com/gpu": "GPU-hours",
    "servers": "hours",
    "credits": "credits",
}
WEIGHTS: Final = [{"resource": "cpu", "perHour": 1}, {"resource": "memory", "perHour": "0.25"}]
GROUPS: Final = ("x", "y")


@dataclass(frozen=True)
class Case:
    """What was held up to ``now``, near a moment of a zone. ``tick``: all times are multiples of so many seconds."""

    zone: str
    now: int
    pods: Sequence[Held]
    tick: int = 1

    def meter(self) -> Meter:
        """The engine's own account of the pods."""
        meter = Meter(0)
        meter.take(_record(str(i), pod) for i, pod in enumerate(self.pods))
        return meter

    def until(self, spec: naive.Spec, last: int, *, stopped: bool = False, more: Sequence[Held] = ()) -> naive.Course:
        """The naive account of what happens up to ``last``."""
        pods = [pod._replace(end=min(self.now, pod.end or self.now)) if stopped else pod for pod in self.pods]
        return naive.Course(spec, [*pods, *more], self.now, last, self.tick)


def _record(uid: str, pod: Held) -> PodRecord:
    start, end = pod.start * SECOND, None if pod.end is None else pod.end * SECOND
    held = [SegmentRecord(r, amount, None, start, end) for r, amount in pod.allocation.items()]
    return PodRecord(
        uid=uid,
        cluster="c",
        hub="h",
        name=uid,
        user=pod.user,
        server="",
        scheduled=start,
        first_seen=start,
        last_seen=start if end is None else end,
        groups=tuple(pod.groups),
        end=None if end is None else PodEnd(end, HowEnded.CONTAINERS),
        segments=tuple(held),
    )


def policy(spec: naive.Spec) -> Policy:
    """The engine's own reading of a policy."""
    return to_policy(spec["name"], PolicySpec.model_validate({k: v for k, v in spec.items() if k != "name"}))


def policies(specs: Sequence[naive.Spec]) -> list[Policy]:
    return [policy(spec) for spec in specs]


@st.composite
def cases(draw: st.DrawFn, tick: int = 1, reach: int = 4 * naive.HOUR, most: int = 5, users: Any = USER) -> Case:  # noqa: ANN401
    """Up to ``most`` pods within ``reach`` before ``now``, which is near a moment; edges often fall on it."""
    zone, moment = draw(st.sampled_from(MOMENTS))
    anchor = naive.second(moment) // tick * tick
    now = anchor + draw(st.integers(-reach // tick, reach // tick)) * tick
    back = st.integers(0, 2 * reach // tick).map(lambda n: now - n * tick)
    instants = back | st.sampled_from([min(now, anchor), now, now - 60 * tick, now - 3600 * tick])
    pods = []
    for _ in range(draw(st.integers(0, most))):
        start = draw(instants)
        end = draw(st.none() | st.just(now + tick) | instants)
        end = None if end is None else max(start, end)
        user = draw(st.sampled_from(users)) if isinstance(users, list) else users
        groups = draw(st.sets(st.sampled_from(GROUPS))) if isinstance(users, list) else set()
        held = draw(st.sampled_from(ALLOCATIONS)) | {"servers": 1000}
        pods.append(Held(user, held, start, end, frozenset(groups)))
    return Case(zone, now, pods, tick)


def rolling() -> st.SearchStrategy[Window]:
    return st.sampled_from(["1m", "10m", "1h", "90m", "3h"]).map(lambda text: {"rolling": text})


def days(case: Case) -> st.SearchStrategy[Window]:
    return st.just({"calendar": "Day", "timeZone": case.zone})


def events(case: Case) -> st.SearchStrategy[Window]:
    """Events that are under way, or over, or to come."""
    far = st.integers(1, 7200)

    def event(shift: int, before: int, after: int) -> Window:
        return {"fixed": {"start": rfc3339(case.now + shift - before), "end": rfc3339(case.now + shift + after)}}

    return st.builds(event, st.sampled_from([0, 0, 0, 3600, -9000]), far, far)


def rfc3339(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def limits() -> st.SearchStrategy[str]:
    """Thousandths of a unit: small ones, such as an hour comes to, and larger ones."""
    return (st.integers(0, 300) | st.integers(0, 3000) | st.integers(0, 100_000)).map(lambda n: f"{n / 1000:.3f}")


@st.composite
def specs(
    draw: st.DrawFn, name: str, window: st.SearchStrategy[Window], more: Mapping[str, object] = MappingProxyType({})
) -> dict[str, Any]:
    """A policy of everybody, with a window."""
    resource = draw(st.sampled_from(sorted(UNITS)))
    made: dict[str, Any] = {
        "name": name,
        "scope": {"everyone": True},
        "resource": resource,
        "limit": {"value": draw(limits()), "unit": UNITS[resource]},
        "window": draw(window),
    }
    return made | ({"weights": WEIGHTS} if resource == "credits" else {}) | dict(more)


#: Three kinds of one resource, two of them written differently though they are the same.
KINDS: Final[list[dict[str, Any]]] = [
    {"resource": "memory", "window": {"rolling": "1d"}},
    {"resource": "memory", "window": {"rolling": "24h"}},
    {"resource": "memory", "window": {"calendar": "Day", "timeZone": "Europe/Berlin"}},
    {"resource": "cpu", "window": {"rolling": "1d"}},
]
SCOPES: Final[list[dict[str, Any]]] = [
    {"everyone": True},
    {"users": [USER]},
    {"groups": ["x"]},
    {"users": ["alice2", "Alice", "alic"], "groups": ["y", "x2"]},
    {"fallback": True},
]


@st.composite
def scoped(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A PerUser policy of some kind, for somebody."""
    kind = draw(st.sampled_from(KINDS))
    made: dict[str, Any] = kind | {"name": name, "scope": draw(st.sampled_from(SCOPES))}
    value = draw(st.sampled_from([0, 1, 2, 2, 3, None]))
    combine = draw(st.sampled_from([None, "Min", "Max", "Sum", "Override"]))
    unit = UNITS[str(kind["resource"])]
    made["limit"] = {"unlimited": True} if value is None else {"value": value, "unit": unit}
    if value is None or combine is not None:
        made["combine"] = "Override" if value is None else combine
    made["enforcement"] = draw(st.sampled_from(["Deny", "Deny", "Warn", "Observe"]))
    made["exceptProfiles"] = sorted(draw(st.sets(st.sampled_from(["small", "tiny"]))))
    made["warnAt"] = draw(st.sampled_from([50, 90]))
    return made


def drawn(strategy: Any, most: int) -> st.SearchStrategy[list[dict[str, Any]]]:  # noqa: ANN401
    """Up to ``most`` policies, each of a name of its own."""
    return st.integers(1, most).flatmap(lambda n: st.tuples(*(strategy(f"p{i}") for i in range(n)))).map(list)


@st.composite
def enforced(draw: st.DrawFn, name: str, window: st.SearchStrategy[Window]) -> dict[str, Any]:
    """A policy that may go together with others, and may spare the small profile."""
    more: dict[str, Any] = {"enforcement": draw(st.sampled_from(["Deny", "Deny", "Deny", "Warn", "Observe"]))}
    if combine := draw(st.sampled_from([None, None, "Max", "Sum", "Override"])):
        more["combine"] = combine
    if draw(st.integers(0, 4)) == 0:
        more["exceptProfiles"] = ["small"]
    return draw(specs(name, window, more))


def launches() -> st.SearchStrategy[Launch]:
    return st.builds(
        lambda held, profile: Launch(held | {"servers": 1000}, profile),
        st.sampled_from([*ALLOCATIONS, {"cpu": 100}]),
        st.sampled_from(["", "small", "large"]),
    )
