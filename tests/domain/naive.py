"""The semantics of quotas in the plainest words, counted second by second: a second opinion on the engine.

Nothing here is clever, and nothing comes from the engine: policies are dicts as an admin writes them, times are whole
seconds since 1970. Amounts are counted in grains, of which every unit of every resource has a whole number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from itertools import accumulate
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

Spec = Mapping[str, Any]
#: A stretch of whole seconds: from the first to just before the last. None: it goes on past the forecast.
Stretch = tuple[int, int | None]

#: Grains in one GiB, CPU, device, server or credit.
GRAINS: Final = 2**30 * 1000 * 10**9
MINUTE: Final = 60
HOUR: Final = 3600
UNITS: Final = {"MiB-hours": Fraction(1, 1024), "TiB-hours": Fraction(1024)}


class Held(NamedTuple):
    """A pod: base units (bytes, thousandths) from ``start`` to just before ``end``. ``end`` None: it runs.

    ``groups``: those whose pools pay: the chosen one alone, where one was chosen.
    """

    user: str | None
    allocation: Mapping[str, int]
    start: int
    end: int | None = None
    groups: frozenset[str] = frozenset()


class Quota(NamedTuple):
    """What one user's policies of one kind come to. ``limit`` in grain-seconds; None: unlimited."""

    spec: Spec
    policies: frozenset[str]
    deciding: frozenset[str]
    limit: Fraction | None
    enforcement: str
    observed: str | None
    conflict: bool
    exceptions: frozenset[str]
    warn_at: int


def grains(spec: Spec, allocation: Mapping[str, int]) -> int:
    """What an allocation counts for, at each instant."""
    if spec["resource"] != "credits":
        return _of(spec["resource"], allocation)
    priced = [Fraction(str(w["perHour"])) * _of(w["resource"], allocation) for w in spec["weights"]]
    return int(sum(priced))


def limit(spec: Spec) -> Fraction | None:
    """In grain-seconds; servers counted at once: a plain number. None: unlimited."""
    if spec["limit"].get("unlimited"):
        return None
    value = Fraction(str(spec["limit"]["value"]))
    if "window" not in spec:
        return value
    return value * UNITS.get(spec["limit"]["unit"], 1) * GRAINS * HOUR


# --- Windows (S1 to S3) -----------------------------------------------------------------------------------------------


def length(text: str) -> int:
    """Seconds of a rolling window such as 1d2h30m."""
    total, digits = 0, ""
    for letter in text:
        if letter.isdigit():
            digits += letter
        else:
            total += int(digits) * {"d": 24 * HOUR, "h": HOUR, "m": MINUTE}[letter]
            digits = ""
    return total


@cache
def label(at: int, calendar: str, zone: str, week_start: str = "Monday") -> tuple[int, ...]:
    """A name for the period that an instant lies in, read off its local date."""
    day = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)).date()
    match calendar:
        case "Day":
            return day.year, day.month, day.day
        case "Week":
            monday = day + timedelta(days=1) if week_start == "Sunday" else day
            return tuple(monday.isocalendar()[:2])
        case "Month":
            return day.year, day.month
        case "Quarter":
            return day.year, (day.month - 1) // 3
        case _:
            return (day.year,)


@cache
def began(at: int, calendar: str, zone: str, week_start: str = "Monday") -> int:
    """The beginning of the period: back, minute by minute, until the local date lies in another one."""
    now = label(at, calendar, zone, week_start)
    minute = at - at % MINUTE
    while label(minute - MINUTE, calendar, zone, week_start) == now:
        minute -= MINUTE
    return minute


@cache
def ends(at: int, calendar: str, zone: str, week_start: str = "Monday") -> int:
    """The beginning of the next period."""
    now = label(at, calendar, zone, week_start)
    minute = at - at % MINUTE
    while label(minute, calendar, zone, week_start) == now:
        minute += MINUTE
    return minute


def openings(window: Spec, now: int, last: int) -> list[int]:
    """The first second that counts at ``now``, and those that follow it up to ``last`` where a period begins."""
    if "rolling" in window:
        return [now - length(window["rolling"])]
    if "fixed" in window:
        return [second(window["fixed"]["start"])]
    found = [began(now, *_calendar(window))]
    while (following := ends(max(now, found[-1]), *_calendar(window))) <= last:
        found.append(following)
    return found


def horizon(window: Spec, now: int) -> int:
    """Where the forecast ends: one window ahead, or the end of the next period, or of the event (S20)."""
    if "rolling" in window:
        return now + length(window["rolling"])
    if "fixed" in window:
        return second(window["fixed"]["end"])
    return ends(ends(now, *_calendar(window)), *_calendar(window))


def holds(spec: Spec, at: int) -> bool:
    """An event's policy gives a quota only during the event (S3)."""
    fixed = spec.get("window", {}).get("fixed")
    return fixed is None or second(fixed["start"]) <= at < second(fixed["end"])


# --- Usage ------------------------------------------------------------------------------------------------------------


class Course:
    """What is held in each second, as one policy counts it, and what that comes to in its window from ``now`` on.

    Pods without an end run on, to ``last``. ``tick``: seconds that are counted at once; all times are multiples of it.
    """

    def __init__(self, spec: Spec, pods: Iterable[Held], now: int, last: int, tick: int = 1) -> None:
        self.openings = openings(spec["window"], now, last)
        self.length = length(spec["window"].get("rolling", ""))
        self.first, self.tick = self.openings[0], tick
        self.pods = [(pod, grains(spec, pod.allocation)) for pod in pods]
        held = [0] * ((last - self.first) // tick)
        for pod, amount in self.pods:
            for second in range(max(self.first, pod.start), last if pod.end is None else min(last, pod.end), tick):
                held[(second - self.first) // tick] += amount
        self.upto = [0, *accumulate(held)]

    def used(self, at: int) -> int:
        """Usage in grain-seconds: the sum over the seconds of the window, from ``now`` to ``last``."""
        since = self.since(at)
        if at % self.tick:
            return self._between_ticks(since, at)
        return (self.upto[(at - self.first) // self.tick] - self.upto[(since - self.first) // self.tick]) * self.tick

    def since(self, at: int) -> int:
        """The first second that counts at an instant."""
        return at - self.length if self.length else max(o for o in self.openings if o <= at)

    def _between_ticks(self, since: int, at: int) -> int:
        lives = [(amount, max(since, p.start), at if p.end is None else min(at, p.end)) for p, amount in self.pods]
        return sum(amount * max(0, end - start) for amount, start, end in lives)

    def exhausted(self, at: int, limit: Fraction) -> bool:
        """Usage >= limit (S4); a limit of 0 at every instant (S5)."""
        return self.used(at) >= limit


def stretches(blocked: Callable[[int], bool], now: int, end: int, tick: int = 1) -> list[Stretch]:
    """The stretches of seconds from ``now`` to ``end``, it included, that are blocked."""
    found: list[Stretch] = []
    since = None
    for at in range(now, end + 1, tick):
        if blocked(at):
            since = at if since is None else since
        elif since is not None:
            found.append((since, at))
            since = None
    return found if since is None else [*found, (since, None)]


# --- Who, and combining (S5, S8, S12 to S14) --------------------------------------------------------------------------


def covers(spec: Spec, user: str, groups: frozenset[str]) -> bool:
    """Whether a policy names a user; fallback aside."""
    scope = spec["scope"]
    return bool(scope.get("everyone")) or user in scope.get("users", ()) or bool(groups & set(scope.get("groups", ())))


def covering(specs: Sequence[Spec], user: str, groups: frozenset[str], now: int) -> list[Spec]:
    """The policies that hold for a user: a fallback where no other Deny or Warn policy of its resource does (S8)."""
    there = [s for s in specs if holds(s, now)]
    named = [s for s in there if covers(s, user, groups)]
    covered = {s["resource"] for s in named if enforcement(s) != "Observe"}
    return named + [s for s in there if s["scope"].get("fallback") and s["resource"] not in covered]


def enforcement(spec: Spec) -> str:
    """What absent means is Deny."""
    return str(spec.get("enforcement", "Deny"))


def quotas(specs: Sequence[Spec], user: str, groups: frozenset[str], now: int) -> list[Quota]:
    """One quota for all PerUser policies of one kind; each Observe policy with the Deny policies beside it (S14)."""
    mine = [s for s in covering(specs, user, groups, now) if s.get("sharing") != "Shared"]
    made = []
    for spec in mine:
        alike = [s for s in mine if _kind(s) == _kind(spec)]
        if enforcement(spec) == "Observe":
            made.append(_combined([s for s in alike if enforcement(s) == "Deny"] + [spec], spec))
        else:
            together = [s for s in alike if enforcement(s) == enforcement(spec)]
            if together[0] is spec:
                made.append(_combined(together, None))
    return made


def _combined(specs: Sequence[Spec], observed: Spec | None) -> Quota:
    limits = {s["name"]: limit(s) for s in specs}
    ways = {s.get("combine", "Min") for s in specs}
    overrides = [s["name"] for s in specs if s.get("combine") == "Override"]
    conflict = False
    if any(limits[name] == 0 for name in limits):  # S5: wins over everything
        told, asked = Fraction(0), list(limits)
    elif overrides:  # S13: these alone hold, the largest of them
        told, asked = _largest([limits[name] for name in overrides]), overrides  # type: ignore[assignment]
    else:
        conflict = len(ways) > 1
        counts = [value for value in limits.values() if value is not None]
        way = "Min" if conflict else next(iter(ways))
        told, asked = (
            Fraction(max(counts) if way == "Max" else sum(counts) if way == "Sum" else min(counts)),
            list(limits),
        )
        if way == "Sum":
            return _quota(specs, list(limits), told, observed, conflict, specs)
    deciding = [name for name in asked if limits[name] == told]
    holding = [s for s in specs if s["name"] in deciding] if overrides and told != 0 else specs
    return _quota(specs, deciding, told, observed, conflict, holding)


def _quota(
    specs: Sequence[Spec],
    deciding: Iterable[str],
    told: Fraction | None,
    observed: Spec | None,
    conflict: bool,
    holding: Sequence[Spec],
) -> Quota:
    names = frozenset(s["name"] for s in specs)
    how = enforcement(observed or specs[0])
    exceptions = frozenset.intersection(*(frozenset(s.get("exceptProfiles", ())) for s in holding))
    warn_at = min(s.get("warnAt", 90) for s in holding)
    shadow = None if observed is None else str(observed["name"])
    return Quota(specs[0], names, frozenset(deciding), told, how, shadow, conflict, exceptions, warn_at)


def _largest(limits: Sequence[Fraction | None]) -> Fraction | None:
    return None if None in limits else max(value for value in limits if value is not None)


def _kind(spec: Spec) -> object:
    """Policies combine only if they are equal in resource, weights and window (S12)."""
    window = spec.get("window", {})
    told = (
        length(window["rolling"]) if "rolling" in window else None,
        _calendar(window) if "calendar" in window else None,
        tuple(second(window["fixed"][edge]) for edge in ("start", "end")) if "fixed" in window else None,
    )
    return spec["resource"], {w["resource"]: Fraction(str(w["perHour"])) for w in spec.get("weights", ())}, told


# --- Pools and launches (S15 to S20) ----------------------------------------------------------------------------------


def pays(spec: Spec, pod: Held) -> bool:
    """Whether a pod charges a pool: by the groups on it, or because its user is named; once, if by several."""
    named = pod.user is not None and covers(spec, pod.user, frozenset())
    return named or bool(pod.groups & set(spec["scope"].get("groups", ())))


def touched(quota: Quota, request: Mapping[str, int], profile: str) -> bool:
    """Whether a launch asks for what a quota counts, with a profile that is not excepted (S19)."""
    return profile not in quota.exceptions and grains(quota.spec, request) > 0


def _of(resource: str, allocation: Mapping[str, int]) -> int:
    return allocation.get(resource, 0) * (GRAINS // (2**30 if resource == "memory" else 1000))


def _calendar(window: Spec) -> tuple[str, str, str]:
    return window["calendar"], window["timeZone"], window.get("weekStart", "Monday")


def second(text: str) -> int:
    """Of an RFC 3339 time."""
    return int(datetime.fromisoformat(text).timestamp())
