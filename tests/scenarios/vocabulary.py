"""The words in which scenarios are told: who held what, by which policies, and what everybody should then be told.

Instants are hours from the scenario's own (negative: before it), or RFC 3339 where an admin would think of a date.
Amounts are told in the policy's unit. Whatever is left out of an expectation is not looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Literal

from hubquota.domain.pods import micros
from hubquota.domain.windows import HOUR

Json = dict[str, Any]
#: Hours from the scenario's instant, or an RFC 3339 time.
When = float | str
#: An amount in the quota's unit, as a status tells it: cut after six decimals.
Amount = float | str
#: A stretch in which a quota is used up. Its end None: not within the forecast.
Stretch = tuple[When, When | None]

#: The Sunday on which clocks in Berlin go forward: 12:00 there, in a day of 23 hours.
SPRING: Final = "2026-03-29T10:00:00Z"
#: Half past eleven in the night of the Sunday on which clocks in New York go back: a day of 25 hours.
AUTUMN: Final = "2026-11-02T04:30:00Z"


class Runner(Enum):
    """What a scenario runs through."""

    LIBRARY = "library"
    REPLAY = "replay"
    OPERATOR = "operator"


EVERYWHERE: Final = frozenset(Runner)


@dataclass(frozen=True, slots=True)
class Pod:
    """A server or child pod of ``user``, placed at ``since`` (None: never), for ``hours`` (None: it is still there).

    ``ended``: the last container ``Finished`` or ``Failed`` and the object lingers; it was ``Deleted``; or it
    ``Vanished``: evicted before a container ran, phase Failed and no container that tells an end.
    ``asks``: requests of the only container, unless ``spec`` says more. ``groups``: those of the launch. ``chosen``:
    the group it was launched for. ``marks``: its annotations, instead of the hub's and hook's. ``status``: put over the
    one that is made. ``grew``: when it was resized, and to what. ``hub``: the other hub's pod if not the own.
    """

    user: str | None
    since: When | None
    hours: float | None = None
    asks: Mapping[str, str] = field(default_factory=lambda: {"memory": "1Gi"})
    ended: Literal["Finished", "Failed", "Deleted", "Vanished"] = "Finished"
    name: str = ""
    server: str = ""
    groups: tuple[str, ...] = ()
    chosen: str = ""
    profile: str = ""
    marks: Mapping[str, str] | None = None
    spec: Mapping[str, Any] | None = None
    status: Mapping[str, Any] | None = None
    grew: tuple[When, Mapping[str, str]] | None = None
    other_hub: bool = False


@dataclass(frozen=True, slots=True)
class Quota:
    """What should be told of one quota or pool. ``used`` empty: it should not be told, for nobody knows."""

    used: Amount
    limit: Amount
    per_hour: Amount | None = None
    blocked: tuple[Stretch, ...] | None = None
    if_stopped: tuple[Stretch, ...] | None = None
    enforcement: str = "Deny"
    policies: tuple[str, ...] | None = None
    group: str | None = None
    covered: When | None = None
    exceptions: tuple[str, ...] | None = None
    warn_at: int | None = None
    message: str | None = None
    unit: str | None = None
    held: Amount | None = None
    base: Amount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A launch now, and what it should meet: refused ``by`` these quotas and pools, by none where empty.

    ``until``, ``if_stopped``: when it works again if all keeps running, or if it stopped now; None where it is refused:
    not foreseen. ``lasts``: when the first quota will be used up with it running too. ``group``: launched for.
    """

    asks: Mapping[str, str] = field(default_factory=lambda: {"memory": "1Gi"})
    by: tuple[str, ...] = ()
    until: When | None = None
    if_stopped: When | Literal[""] | None = ""
    warned: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()
    lasts: When | Literal[""] | None = ""
    profile: str = ""
    server: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """What should be told of a user: these quotas and no others, by name."""

    decision: str = "Allowed"
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    pools: tuple[str, ...] = ()
    launches: tuple[Launch, ...] = ()
    running: int | None = None
    says: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What the operator alone says of a policy. ``conditions``: reasons by type, None: it is not so."""

    conditions: Mapping[str, str | None] = field(default_factory=dict)
    users: int | None = None
    near: int | None = None
    exhausted: int | None = None


# What may happen next.


@dataclass(frozen=True, slots=True)
class Write:
    """An admin writes a policy: a new one, or another spec for one that is there."""

    policy: str
    spec: Json


@dataclass(frozen=True, slots=True)
class Remove:
    """An admin deletes a policy."""

    policy: str


@dataclass(frozen=True, slots=True)
class Join:
    """The hub says that a user is in exactly these groups."""

    user: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    """A pod is there."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class Finish:
    """The last container of a pod ended at ``at``; the object lingers."""

    pod: str
    at: When


@dataclass(frozen=True, slots=True)
class Delete:
    """A pod is deleted, and seen to be gone now."""

    pod: str


@dataclass(frozen=True, slots=True)
class Grow:
    """A pod is resized in place, now."""

    pod: str
    asks: Mapping[str, str]


Act = Write | Remove | Join | Begin | Finish | Delete | Grow


@dataclass(frozen=True, slots=True)
class Then:
    """What happens next, and what should be told afterwards."""

    acts: tuple[Act, ...]
    users: Mapping[str, User] = field(default_factory=dict)
    pools: Mapping[str, Quota | None] = field(default_factory=dict)
    told: Mapping[str, Told] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario. ``shows``: what it is a case of (see ``aspects``).

    ``members``: the groups of users as the hub says now; who is not listed is in none. ``homes``: sizes of home
    directories, which only the library can be told yet. ``users``, ``pools``, ``told``: what is expected at first;
    ``then``: what happens next. ``runs``: through what it runs; ``because`` says why not through all.
    """

    name: str
    shows: tuple[str, ...]
    policies: Mapping[str, Json]
    pods: tuple[Pod, ...] = ()
    users: Mapping[str, User] = field(default_factory=dict)
    pools: Mapping[str, Quota | None] = field(default_factory=dict)
    told: Mapping[str, Told] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    then: tuple[Then, ...] = ()
    now: str = SPRING
    runs: frozenset[Runner] = EVERYWHERE
    because: str = ""

    @property
    def at(self) -> int:
        """Its instant in microseconds."""
        return micros(self.now)

    @property
    def phases(self) -> tuple[Then, ...]:
        """What is expected at first, as if nothing had happened, and then step by step."""
        return (Then((), self.users, self.pools, self.told), *self.then)

    @property
    def covered_since(self) -> int:
        """When watching began: with the first pod."""
        starts = (instant(p.since, self.at) for p in self.pods if p.since is not None and not p.other_hub)
        return min(starts, default=self.at)


def instant(when: When, now: int) -> int:
    """Microseconds since 1970."""
    return micros(when) if isinstance(when, str) else now + round(when * HOUR)


# What cases are made of.

_UNITS: Final = {
    "memory": "GiB-hours",
    "cpu": "CPU-hours",
    "servers": "hours",
    "credits": "credits",
    "storage": "GiB",
}


def quota(
    resource: str,
    limit: float | str | None,
    rolling: str = "7d",
    *,
    users: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
    fallback: bool = False,
    window: Json | None = None,
    unit: str = "",
    prices: Mapping[str, int | str] | None = None,
    **more: object,
) -> Json:
    """A spec as an admin writes it in YAML. For everyone, unless it says for whom. ``limit`` None: unlimited.

    ``rolling`` empty: no window. ``prices``: credits for an hour.
    """
    who = {"users": list(users), "groups": list(groups)}
    scope: Json = {k: v for k, v in who.items() if v} or {"fallback" if fallback else "everyone": True}
    over = window or ({"rolling": rolling} if rolling else None)
    unit = unit or _UNITS.get(resource, "device-hours") if rolling or over or resource == "storage" else "servers"
    value = str(limit) if isinstance(limit, float) else limit
    spec: Json = {"scope": scope, "resource": resource}
    spec["limit"] = {"unlimited": True} if limit is None else {"value": value, "unit": unit}
    spec |= {} if over is None else {"window": over}
    spec |= {} if prices is None else {"weights": [{"resource": r, "perHour": p} for r, p in prices.items()]}
    return spec | {key: list(value) if isinstance(value, tuple) else value for key, value in more.items()}


def memory(limit: float | str | None, rolling: str = "7d", **more: Any) -> Json:  # noqa: ANN401 - a spec's fields
    """GiB-hours of memory."""
    return quota("memory", limit, rolling, **more)


def calendar(period: str, zone: str, **more: str) -> Json:
    """A calendar's window."""
    return {"calendar": period, "timeZone": zone, **more}


def fixed(start: str, end: str) -> Json:
    """An event's window."""
    return {"fixed": {"start": start, "end": end}}


def container(**resources: Json) -> Json:
    """A container with these ``requests`` and ``limits``."""
    return {"resources": resources}
