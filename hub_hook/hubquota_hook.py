"""The JupyterHub side of hubquota: lets a launch through or refuses it, with the reason and the time.

In ``jupyterhub_config.py``, or in z2jh's ``hub.extraConfig``, after all other settings of spawners::

    from hubquota_hook import setup_hubquota
    setup_hubquota(c)

Options are traits of ``c.HubQuota`` (z2jh: ``hub.config.HubQuota``). The file needs nothing but what a z2jh hub image
has. It reads what the operator wrote (one GET a launch, and what all share now and then) and compares times; it
measures nothing. No exception of its own but a refusal ever reaches the hub.

It is one file so that it can be mounted. From top to bottom: the options; what a launch asks for; judging it by plain
values; the words for people; counting; reading from the API server and telling it; what is done to the hub's spawner;
and at the end the gate, which calls all these in their order.
"""

import asyncio
import contextlib
import hashlib
import html
import importlib.metadata
import inspect
import json
import math
import os
import re
import time
import traceback
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from email.utils import parsedate_to_datetime
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar
from urllib.request import getproxies, proxy_bypass
from weakref import WeakKeyDictionary

import aiohttp
import jinja2
import jinja2.meta
from kubespawner import KubeSpawner
from kubespawner.clients import shared_client
from markupsafe import Markup
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from tornado.web import HTTPError
from traitlets import Bool, Float, TraitError, Unicode, Union, validate
from traitlets import Callable as CallableTrait
from traitlets.config import Configurable
from traitlets.utils.importstring import import_item
from yarl import URL

try:
    from jupyterhub.spawner import SpawnException
except ImportError:  # JupyterHub 5
    SpawnException = None

__version__ = "0.1.0.dev0"
Json = dict[str, Any]
Hook = Callable[..., Any]
T = TypeVar("T")
#: Reasons of a refusal, as JupyterHub's metrics show them.
EXCEEDED, FAILED = "compute-quota-exceeded", "compute-quota-failed"
FOREIGN, UNUSABLE = "compute-quota-foreign-group", "server-options-unusable"
_OURS = "hubquota.dev/"


# --- Options, and how the hook comes before every launch ---

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_BASES = ("Configurable", "LoggingConfigurable", "SingletonConfigurable")
_SECONDS = "a number of seconds, more than 0 and at most 3600, such as 2.0"
_TEMPLATE = "a Jinja2 template of the variables that docs/hook.md lists, such as {{ text }}"


class HubQuota(Configurable):
    """How launches are judged. ``write``: what an admin reads where a trait is wrong."""

    failover_open = Bool(
        True,
        help="Whether a launch goes on where no answer can be had (operator stopped, API away). False refuses it.",
    ).tag(config=True, write="True or False")
    timeout = Float(2.0, help="Seconds that a decision may take, beside `first_launch_timeout`.").tag(
        config=True, write=_SECONDS
    )
    max_staleness = Float(
        300.0, help="Seconds after the operator's last heartbeat at which its word no longer counts."
    ).tag(config=True, write=_SECONDS)
    first_launch_timeout = Float(
        5.0, help="Seconds to wait for the operator's answer for a new user or changed groups, where it matters."
    ).tag(config=True, write=_SECONDS)
    launch_group = Union(
        [Unicode(), CallableTrait()],
        default_value="",
        help="The group a server is launched for: a key of user_options, or a callable of the spawner. Empty: none.",
    ).tag(config=True, write="the name of a key of user_options, or a callable that takes the spawner")
    namespace = Unicode(
        "", help="The namespace of the hub's quotas. Empty: `KubeSpawner.namespace`, or else where the hub runs."
    ).tag(config=True, write="the name of a namespace, such as jupyterhub, or nothing")
    primehub_annotation = Bool(False, help="Whether pods carry PrimeHub's annotation primehub.io/usage too.").tag(
        config=True, write="True or False"
    )
    message_template = Unicode(
        "{{ text }}", help="What a refusal says as plain text, as a Jinja2 template. It has to be complete by itself."
    ).tag(config=True, write=_TEMPLATE)
    html_template = Unicode(
        "{{ html }}", help="What a refusal says on the hub's pages, as a Jinja2 template that escapes what it is given."
    ).tag(config=True, write=_TEMPLATE)

    @validate("timeout", "max_staleness", "first_launch_timeout")
    def _seconds(self, proposal: Any) -> float:
        if not 0 < proposal["value"] <= 3600:
            raise TraitError("it must be more than 0 and at most 3600")
        return float(proposal["value"])

    @validate("namespace")
    def _name_of_a_namespace(self, proposal: Any) -> str:
        name = str(proposal["value"])
        if name and not _NAMESPACE.fullmatch(name):
            raise TraitError("no namespace can have this name")
        return name

    @validate("message_template", "html_template")
    def _template(self, proposal: Any) -> str:
        """It is tried at the hub's start, on all that a refusal can be, and not at a user's launch."""
        text = str(proposal["value"])
        _try_template(text, as_html=proposal["trait"].name == "html_template")
        return text


def setup_hubquota(c: Any) -> None:
    """Put the hook before every launch. Raises traitlets' TraitError where a trait of c.HubQuota is wrong."""
    options = _options(c)
    classes = _spawner_classes(c)
    # The most specific class's hook is the one that would have run without us.
    earlier = [c[name].pre_spawn_hook for name in classes if name in c and "pre_spawn_hook" in c[name]]
    hook = _hook(Gate(options, _without_us(earlier[-1]) if earlier else None))
    _tell_in_progress(options.timeout + options.first_launch_timeout)
    for name in classes:
        c[name].pre_spawn_hook = hook


def _options(c: Any) -> HubQuota:
    """The traits that are set. Raises TraitError with what to write instead."""
    traits = HubQuota.class_traits(config=True)
    unknown = sorted(name for name in c.HubQuota if name not in traits)
    if unknown:
        raise TraitError(f"c.HubQuota has no {', '.join(unknown)}: write one of {', '.join(sorted(traits))}")
    for name, value in c.HubQuota.items():
        try:
            HubQuota(**{name: value})
        except TraitError as fault:
            raise TraitError(
                f"c.HubQuota.{name} cannot be {_short(repr(value))}: {fault}. Write {traits[name].metadata['write']}."
            ) from fault
    return HubQuota(config=c)


def _spawner_classes(c: Any) -> list[str]:
    """The names under which the hub's spawner is configured, the most specific last."""
    chosen = _spawner_class(c.JupyterHub.spawner_class) if "spawner_class" in c.JupyterHub else KubeSpawner
    if isinstance(chosen, type):
        lineage = [cls.__name__ for cls in reversed(chosen.__mro__) if issubclass(cls, Configurable)]
        return list(dict.fromkeys(["Spawner", "KubeSpawner", *(name for name in lineage if name not in _BASES)]))
    name = chosen.rpartition(".")[2]
    return ["Spawner", "KubeSpawner", *([] if name in ("kubespawner", "KubeSpawner") else [name])]


def _spawner_class(chosen: "type | str") -> "type | str":
    """The class that is named by where it is, or as the hub's entry points name it; the name where there is none.

    What is not there, or cannot be imported, is the hub's own error, which says more.
    """
    with contextlib.suppress(Exception):
        for entry in importlib.metadata.entry_points(group="jupyterhub.spawners"):
            if isinstance(chosen, str) and entry.name.lower() == chosen.lower():
                found: type = entry.load()
                return found
        return import_item(chosen) if isinstance(chosen, str) and "." in chosen else chosen
    return chosen


def _hook(gate: "Gate") -> Hook:
    """The gate as a plain function: traitlets gives each spawner a copy of a method, and of all that it belongs to."""

    async def pre_spawn(spawner: Any) -> None:
        await gate.pre_spawn(spawner)

    pre_spawn.hubquota_earlier = gate.earlier  # type: ignore[attr-defined]
    return pre_spawn


def _without_us(hook: "Hook | None") -> "Hook | None":
    """The hook that was there before ours, where setup_hubquota is called again."""
    earlier: Hook | None = getattr(hook, "hubquota_earlier", hook)
    return earlier


# --- What is launched: the profile, what it asks for, and for which group ---

_QUANTITY = re.compile(r"[+]?([0-9]+(?:[.][0-9]*)?|[.][0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?")
#: Longer texts, and larger exponents, only serve to have somebody compute for ever.
_LONGEST_QUANTITY, _LARGEST_EXPONENT = 1000, 1000
_SUFFIXES = {suffix: Fraction(10) ** (3 * power) for power, suffix in enumerate("num kMGTPE", -3)}
_SUFFIXES |= {f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", 1)}


@dataclass(frozen=True)
class Launch:
    """What is to be launched. ``request``: bytes of memory, thousandths of everything else; only what is asked for.

    ``group``: the one it is launched for; empty: none was chosen.
    """

    user: str
    server: str
    profile: str
    request: Mapping[str, int]
    group: str = ""


class Unusable(Exception):
    """What a user chose cannot be started, whatever is left of a quota; the message says why, for the user."""


#: What code raises for data that it did not expect. A user who could have the hook fail by what they send would be
#: judged by failover_open, and not by their quotas.
_BY_DATA = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, TraitError, re.error)


async def apply_profile(spawner: Any) -> None:
    """Have the profile's requests on the spawner now: KubeSpawner applies them only after this hook. Raises Unusable.

    It would raise the same when it starts, and the hub count it as a failure of its own: anybody could end it so.
    """
    if not hasattr(spawner, "load_user_options"):
        return
    try:
        await spawner.load_user_options()
    except ValueError as fault:
        raise Unusable(_short(str(fault), 500)) from fault
    except _BY_DATA as fault:
        raise Unusable("they are not of the form that this hub's profiles expect") from fault


async def profile_of(spawner: Any) -> str:
    """The slug of the profile that KubeSpawner applies, the default one where none was chosen. Empty: there is none.

    Where the hub has no profiles a user may still send the name of one, which then is not worth an exception.
    """
    profiles = getattr(spawner, "profile_list", None)
    profiles = await _awaited(profiles(spawner)) if callable(profiles) else profiles
    chosen = _user_options(spawner).get("profile")
    if profiles and not chosen and hasattr(spawner, "_get_initialized_profile_list"):
        known = spawner._get_initialized_profile_list(spawner._sorted_dict_values(profiles))
        chosen = next((profile["slug"] for profile in known if profile.get("default")), "")
    return str(chosen) if profiles and chosen else ""  # one that was chosen was checked by load_user_options


def _user_options(spawner: Any) -> Mapping[str, Any]:
    """What the user chose: any JSON that was sent to the hub; nothing where it is no object."""
    options = spawner.user_options
    return options if isinstance(options, Mapping) else {}


def requested(spawner: Any) -> dict[str, int]:
    """What a launch asks for, as the scheduler counts it: bytes of memory, thousandths of everything else.

    Of all containers that run together, or of one that runs before them where that asks for more. Raises ValueError.
    """
    beside: dict[str, int] = {}
    before: dict[str, int] = {}
    for container in _containers(spawner, "init_containers"):
        asked = _asked_for(container)
        if container.get("restartPolicy", container.get("restart_policy")) == "Always":
            beside = _sum(beside, asked)
        else:
            before = _larger(before, _sum(beside, asked))
    for container in (_notebook(spawner), *_containers(spawner, "extra_containers")):
        beside = _sum(beside, _asked_for(container))
    return {name: amount for name, amount in _larger(before, beside).items() if amount > 0}


def _notebook(spawner: Any) -> Json:
    """The container that KubeSpawner makes."""
    requests = {"cpu": spawner.cpu_guarantee, "memory": spawner.mem_guarantee}
    limits = {"cpu": spawner.cpu_limit, "memory": spawner.mem_limit}
    of = {
        "requests": {**requests, **(spawner.extra_resource_guarantees or {})},
        "limits": {**limits, **(spawner.extra_resource_limits or {})},
    }
    return {"resources": {kind: {name: amount for name, amount in of[kind].items() if amount} for kind in of}}


def _containers(spawner: Any, name: str) -> Iterator[Json]:
    """An admin's own containers, which KubeSpawner takes as a list or by keys."""
    listed = getattr(spawner, name, None) or ()
    for container in listed.values() if isinstance(listed, Mapping) else listed:
        if isinstance(container, Mapping):
            yield dict(container)


def _asked_for(container: Json) -> dict[str, int]:
    """A container's requests; its limits where there is no request, as the API server has it."""
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: quantity(amount, 1 if name == "memory" else 1000) for name, amount in asked.items()}


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _larger(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}


def quantity(amount: object, times: int = 1) -> int:
    """A quantity of Kubernetes, such as ``10Gi``, ``500m`` or 1.5, rounded up. Raises ValueError."""
    try:
        return _quantity(str(amount), times)
    except ValueError:
        told = f"{_short(repr(amount))} is no quantity of Kubernetes: write one such as 1, 500m or 10Gi"
        raise ValueError(told) from None


@lru_cache(256)
def _quantity(amount: str, times: int) -> int:
    """A hub's launches ask for the same few amounts. Raises ValueError."""
    found = _QUANTITY.fullmatch(amount) if len(amount) <= _LONGEST_QUANTITY else None
    if found is None:
        raise ValueError(amount)
    number, suffix = found[1].rstrip("."), found[2] or " "
    return math.ceil(Fraction(number) * (_SUFFIXES.get(suffix) or _power(suffix)) * times)


def _power(suffix: str) -> Fraction:
    """``e3`` as 1000. Raises ValueError."""
    exponent = int(suffix[1:])
    if abs(exponent) > _LARGEST_EXPONENT:
        raise ValueError(suffix)
    return Fraction(10) ** exponent


# --- The user's groups ---

_MOST_GROUPS = 256
_LONGEST_NAME = 255
#: All annotations of a pod may take 256 KiB together; as many bytes of JSON as the groups may take of it.
_GROUP_BYTES = 160 * 1024
#: Names of groups looked at before the hub's loop has its turn again.
_AT_A_TIME = 1000


async def names_of(groups: Iterable[Any]) -> list[str]:
    """The names of a user's groups. The hub's loop has its turn in between, however many there are."""
    names: list[str] = []
    for group in list(groups):
        names.append(group.name)
        if len(names) % _AT_A_TIME == 0:
            await asyncio.sleep(0)
    return names


async def kept_groups(names: Iterable[str], named: "frozenset[str]") -> list[str]:
    """The groups of a user that are told, in order: at most 256, those that policies name (``named``) first.

    A name that no policy can hold is none of them. The hub's loop has its turn in between, however many there are.
    """
    first: list[str] = []
    rest: list[str] = []
    for number, name in enumerate(names, 1):
        if 0 < len(name) <= _LONGEST_NAME and "\0" not in name:
            (first if name in named else rest).append(name)
        if number % _AT_A_TIME == 0:
            first, rest = sorted(first)[:_MOST_GROUPS], sorted(rest)[:_MOST_GROUPS]
            await asyncio.sleep(0)
    if len(first) + len(rest) <= _MOST_GROUPS and _fit(first) and _fit(rest):
        return sorted(first + rest)
    kept: list[str] = []
    left = _GROUP_BYTES
    for name in (sorted(first) + sorted(rest))[:_MOST_GROUPS]:
        left -= len(json.dumps(name, ensure_ascii=False).encode()) + 2
        if left < 0:
            break
        kept.append(name)
    return sorted(kept)


def _fit(names: Sequence[str]) -> bool:
    """Whether names are surely so short that as many again would fit: JSON has at most six bytes for a letter."""
    joined = "".join(names)
    return joined.isascii() and 6 * len(joined) + 4 * len(names) <= _GROUP_BYTES // 2


# --- Judging: plain values in, plain values out ---

_GIB_IN = {"MiB-hours": Decimal(1024), "TiB-hours": 1 / Decimal(1024)}
#: Now is the API server's Date header, cut to a whole second: a stretch that begins within it has begun. Ends are whole
#: seconds, so for them the cut is exact.
_TICK = timedelta(seconds=1)
_NEVER = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Verdict:
    """What becomes of a launch. ``until`` None: not within what is known; ``until_if_stopped``: if all stopped now."""

    refusing: Sequence[Json] = ()
    warning: Sequence[Json] = ()
    observed: Sequence[Json] = ()
    """Used up, but nobody is refused or told for them."""
    open: Sequence[Json] = ()
    until: "datetime | None" = None
    until_if_stopped: "datetime | None" = None


def _blocked(_: Json) -> str:
    """Which stretches there are while all that runs now runs on."""
    return "blocked"


def _if_stopped(quota: Json) -> str:
    """Which stretches there are once the user's servers have stopped: what others run on a pool runs on."""
    return "blocked" if quota.get("shared") else "blockedIfStopped"


def judge(
    quotas: Iterable[Json],
    running: Sequence[Json],
    launch: Launch,
    now: datetime,
    foreseen: "datetime | None" = None,
) -> Verdict:
    """Refuse where a quota that the launch touches is used up and denies; unknown enforcements only observe.

    ``foreseen``: up to when these quotas are all that there are; None: for ever.
    """
    touched = [q for q in quotas if touches(q, launch)]
    hit = [q for q in touched if used_up(q, running, launch, now)]
    refusing = sorted((q for q in hit if q["enforcement"] == "Deny"), key=lambda q: _ends(q, now), reverse=True)
    shown = [q for q in touched if q["enforcement"] in ("Deny", "Warn") and q not in hit]
    # Servers at once are counted, not foreseen: one that is not full now is not full later either.
    denying = [q for q in touched if q["enforcement"] == "Deny" and ("window" in q or q in hit)]
    ends_of_pools = [foreseen, *(_foreseen(q) for q in denying if q.get("shared"))]
    return Verdict(
        refusing=refusing,
        warning=[q for q in hit if q["enforcement"] == "Warn"],
        observed=[q for q in hit if q["enforcement"] not in ("Deny", "Warn")],
        open=shown,
        until=first_open(denying, _blocked, now, [foreseen, *map(_foreseen, denying)]) if refusing else None,
        until_if_stopped=first_open(denying, _if_stopped, now, ends_of_pools) if refusing else None,
    )


def touches(quota: Json, launch: Launch) -> bool:
    """A launch touches a quota only if it asks for its resource; a server always asks for a server."""
    if launch.profile and launch.profile in quota.get("exceptProfiles", ()):
        return False
    return quota["resource"] == "storage" or per_hour(quota, launch) > 0


def used_up(quota: Json, running: Sequence[Json], launch: Launch, now: datetime) -> bool:
    """Whether it is used up now, if what runs keeps running. A server's own earlier pod never counts against it."""
    if quota["resource"] == "servers" and "window" not in quota:
        own = sum(1 for pod in running if pod.get("server") == launch.server)
        return Decimal(quota["used"]) - own + 1 > Decimal(quota["limit"])
    return any(start < now + _TICK and (end is None or now < end) for start, end in stretches(quota, "blocked"))


def first_open(
    quotas: Sequence[Json], which: "Callable[[Json], str]", now: datetime, foreseen: "Sequence[datetime | None]" = ()
) -> "datetime | None":
    """The first instant at which none of them is used up; None: not within what is known, or ``foreseen``."""
    at, end = now, min((moment for moment in foreseen if moment is not None), default=None)
    while end is None or at < end or at == now:
        ends = [
            end
            for q in quotas
            for start, end in stretches(q, which(q))
            if start < at + _TICK and (end is None or at < end)
        ]
        if not ends:
            return at
        if any(end is None for end in ends):
            return None
        at = max(until for until in ends if until is not None)
    return None


def _ends(quota: Json, now: datetime) -> datetime:
    """When the stretch ends that a quota is in; a quota of which that is not known decides before all others."""
    ends = [end for start, end in stretches(quota, "blocked") if start < now + _TICK and (end is None or now < end)]
    return max((end or _NEVER for end in ends), default=_NEVER)


def _foreseen(quota: Json) -> "datetime | None":
    return instant(quota["foreseenUntil"]) if "foreseenUntil" in quota else None


def stretches(quota: Json, key: str) -> "Iterator[tuple[datetime, datetime | None]]":
    """The stretches ahead in which a quota is used up."""
    for block in quota.get(key, ()):
        yield instant(block["from"]), instant(block["until"]) if "until" in block else None


def lasts_until(quota: Json, launch: Launch, now: datetime) -> "datetime | None":
    """When the quota is used up with this server running too; None: not within its window. Never too late."""
    forecast, limit, rate = quota.get("forecast", ()), Decimal(quota["limit"]), per_hour(quota, launch)
    if not forecast or _most(forecast, rate, now) < limit:
        return None
    vertices, since = [(instant(v["at"]), Decimal(v["used"])) for v in forecast], now
    for (at, used), (then, after) in zip(vertices, vertices[1:]):  # noqa: B905, RUF007 - Python 3.10
        if then <= now:
            continue
        if then == at:
            since = at  # a new period begins, for this server too
        level, level_then = used + rate * _hours(at - since), after + rate * _hours(then - since)
        if level_then >= limit:
            share = (limit - level) / (level_then - level) if level_then > level else Decimal(0)
            seconds = (share * Decimal((then - at).total_seconds())).to_integral_value(ROUND_FLOOR)
            return max(now, at + timedelta(seconds=max(0, int(seconds))))
    return None


def _most(forecast: Sequence[Json], rate: Decimal, now: datetime) -> Decimal:
    """At least what is used at any time of a forecast, with so much more an hour. Most launches need know no more."""
    ahead = max(Decimal(0), _hours(instant(forecast[-1]["at"]) - now))
    return max(Decimal(vertex["used"]) for vertex in forecast) + rate * ahead


def per_hour(quota: Json, launch: Launch) -> Decimal:
    """What the launch adds to a quota in an hour, in the quota's unit."""
    if quota["resource"] == "credits":
        return sum((Decimal(w["perHour"]) * _held(w["resource"], launch) for w in quota.get("weights", ())), Decimal(0))
    return _held(quota["resource"], launch) * _GIB_IN.get(quota["unit"], 1)


def _held(resource: str, launch: Launch) -> Decimal:
    """GiB of memory, CPUs, devices or servers that a launch asks for; a server always asks for a server."""
    asked = 1000 if resource == "servers" else launch.request.get(resource, 0)
    return Decimal(asked) / (2**30 if resource == "memory" else 1000)


def _hours(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(microseconds=1)) / 3_600_000_000


def instant(text: str) -> datetime:
    """An aware instant. Raises ValueError."""
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))  # Python 3.10 knows no Z
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


# --- Words for people: the plain text is complete by itself, the HTML says the same ---

_PERIODS = {"Day": "today", "Week": "this week", "Month": "this month", "Quarter": "this quarter", "Year": "this year"}
_INSTANT = "%Y-%m-%d %H:%M:%S UTC"
#: What is marked on a page: instants, and links up to the punctuation that follows them in a sentence.
_MARKED = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d) (?P<time>\d\d:\d\d:\d\d) UTC"
    r"|(?P<link>(?:https://|mailto:)[^\s<>\"']*[^\s<>\"'.,;:!?)\]}])"
)
#: Servers and pods that are told by name.
_MOST_NAMED = 5


@dataclass(frozen=True)
class Moment:
    """An instant as people read it, from ``now`` on."""

    when: datetime
    now: datetime

    @property
    def at(self) -> str:
        """``2026-03-01 15:20:24 UTC``."""
        return self.when.astimezone(timezone.utc).strftime(_INSTANT)

    @property
    def iso(self) -> str:
        """``2026-03-01T15:20:24Z``."""
        return self.when.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    @property
    def wait(self) -> str:
        """``3 h 20 min``."""
        return duration(self.when - self.now)

    def __str__(self) -> str:
        """``2026-03-01 15:20:24 UTC (in 3 h 20 min)``."""
        return f"{self.at} (in {self.wait})"


@dataclass(frozen=True)
class Refusal:
    """What there is to say of a refusal; each field is a variable of the templates."""

    reason: str
    paragraphs: Sequence[str]
    user: str = ""
    server: str = ""
    profile: str = ""
    group: str = ""
    quotas: Sequence[Mapping[str, str]] = ()
    again: "Moment | None" = None
    sooner: "Moment | None" = None
    servers: Sequence[str] = ()

    def variables(self) -> Json:
        """What the templates are given."""
        # A text that no quota is the reason of may quote what somebody else had the user send, such as a link.
        marked = linked if self.quotas else html.escape
        page = Markup(" ").join(Markup("<p>{}</p>").format(Markup(marked(part))) for part in self.paragraphs)  # noqa: S704
        return {**vars(self), "text": " ".join(self.paragraphs), "html": page}


def refusal(verdict: Verdict, running: Sequence[Json], now: datetime, launch: "Launch | None" = None) -> Refusal:
    """Why a launch is refused, when it will work again, and what would help sooner."""
    parts = [_used_up(quota) for quota in verdict.refusing]
    parts.append(_again(verdict, running, now))
    parts += dict.fromkeys(q["message"] for q in verdict.refusing if q.get("message"))
    sooner = verdict.until_if_stopped
    return Refusal(
        EXCEEDED,
        parts,
        **_of(launch),
        quotas=[_variables(quota) for quota in verdict.refusing],
        again=Moment(verdict.until, now) if verdict.until else None,
        sooner=Moment(sooner, now) if sooner and _helps(verdict, running) else None,
        servers=list(dict.fromkeys(str(pod["server"] or "default") for pod in running if "server" in pod)),
    )


def _helps(verdict: Verdict, running: Sequence[Json]) -> bool:
    """Whether it would work sooner if the user stopped what runs."""
    sooner = verdict.until_if_stopped
    return bool(running) and sooner is not None and (verdict.until is None or sooner < verdict.until)


def plain_refusal(reason: str, text: str, launch: "Launch | None" = None) -> Refusal:
    """A refusal that no quota is the reason of."""
    return Refusal(reason, [text], **_of(launch))


def _of(launch: "Launch | None") -> Json:
    """The variables that say what was to be launched."""
    return {name: getattr(launch, name) for name in ("user", "server", "profile", "group")} if launch else {}


def _variables(quota: Json) -> dict[str, str]:
    """A quota as the templates see it."""
    amounts = {"used": _used(quota), "limit": exact(quota["limit"]), "unit": quota["unit"]}
    of = {"policy": _policy(quota), "resource": quota["resource"], "message": quota.get("message", "")}
    of["group"] = quota.get("group", "")
    return amounts | of | {"window": _over(quota).strip()}


def progress_message(verdict: Verdict, launch: Launch, now: datetime) -> tuple[str, str]:
    """What is left while a server starts, and how long it lasts with it; stronger words near the end."""
    parts = [f"Warning: {_used_up(quota)}" for quota in verdict.warning]
    parts += [_left(quota, launch, now) for quota in verdict.open if quota.get("window") and "used" in quota]
    return " ".join(parts), "<br>".join(linked(part) for part in parts)


def _used_up(quota: Json) -> str:
    what = f"{_used(quota)} of {exact(quota['limit'])} {quota['unit']}"
    of = "" if quota["unit"] == quota["resource"] else f" of {quota['resource']}"
    return f"Your quota is used up: {what}{of}{_over(quota)} ({_from(quota)})."


def _used(quota: Json) -> str:
    """Not of every quota it is known how much was used."""
    return number(quota["used"]) if "used" in quota else "an unknown amount"


def _from(quota: Json) -> str:
    """Which policy it is, and by which group it holds, where a group decided."""
    group = f", group {quota['group']}" if quota.get("group") else ""
    return f"policy {_policy(quota)}{group}"


def _policy(quota: Json) -> str:
    return str(quota.get("name") or quota["policies"][0])


def _again(verdict: Verdict, running: Sequence[Json], now: datetime) -> str:
    sooner = verdict.until_if_stopped if _helps(verdict, running) else None
    from_when = "at once" if sooner is not None and sooner <= now else f"from {Moment(sooner or now, now)}"
    if verdict.until is not None:
        text = f"It will work again at {Moment(verdict.until, now)}."
        return f"{text} If you stop {_what_runs(running)} now, it will work {from_when}." if sooner else text
    if sooner is not None:
        return f"It stays so as long as {_what_runs(running)} run: if you stop them, it will work {from_when}."
    if any(Decimal(q["limit"]) == 0 for q in verdict.refusing):
        return "The limit is 0, so no such server can be started."
    if any(q["resource"] == "storage" for q in verdict.refusing):
        small = ", ".join(sorted({name for q in verdict.refusing for name in q.get("exceptProfiles", ())}))
        return f"It will work again when you have deleted files; these profiles still start: {small or 'none'}."
    if pools := [_policy(q) for q in verdict.refusing if q.get("shared") and _ends(q, now) == _NEVER]:
        return f"It stays so as long as the servers of all who share it run on (policy {', '.join(pools)})."
    return "It cannot be told yet when it will work again."


def _what_runs(running: Sequence[Json]) -> str:
    """The user's servers by name, and what they have started beside them; not all of very many."""
    servers = dict.fromkeys(f"“{pod['server'] or 'default'}”" for pod in running if "server" in pod)
    names = [*servers, *(f"the pod {pod.get('pod', '')}" for pod in running if "server" not in pod)]
    more = len(names) - _MOST_NAMED
    told = ", ".join(names if more <= 0 else [*names[:_MOST_NAMED], f"and {more} more"])
    return f"your running servers ({told})" if len(servers) == len(names) else f"what you run ({told})"


def _left(quota: Json, launch: Launch, now: datetime) -> str:
    limit, used = Decimal(quota["limit"]), _used_by(quota, now)
    near = used * 100 >= limit * quota.get("warnAt", 90)
    left = f"{number(str(max(limit - used, Decimal(0))))} of {exact(quota['limit'])} {quota['unit']}"
    of = f" of {quota['resource']}" if quota["unit"] == "device-hours" else ""
    text = f"{'Nearly used up: only ' if near else ''}{left}{of} left{_over(quota)}"
    end = lasts_until(quota, launch, now)
    if end is None:
        return f"{text}."
    return f"{text}; with this server it lasts {duration(end - now, ROUND_FLOOR)}, until {end.strftime(_INSTANT)}."


def _used_by(quota: Json, now: datetime) -> Decimal:
    """What is used by now at most: the status may be older, and tells what runs since."""
    since = next((instant(vertex["at"]) for vertex in quota.get("forecast", ())), now)
    return Decimal(quota["used"]) + Decimal(quota.get("perHour", 0)) * max(Decimal(0), _hours(now - since))


def _over(quota: Json) -> str:
    window = quota.get("window", {})
    if "rolling" in window:
        return f" in any {spelled(window['rolling'])}"
    if "calendar" in window:
        return f" {_PERIODS.get(window['calendar'], 'in this period')} ({window.get('timeZone', 'UTC')})"
    if "fixed" in window:
        start, end = (instant(window["fixed"][edge]).astimezone(timezone.utc) for edge in ("start", "end"))
        return f" from {start.strftime(_INSTANT)} to {end.strftime(_INSTANT)}"
    return " at once" if quota["resource"] == "servers" else ""


def spelled(window: str) -> str:
    """``7d`` as ``7 days``."""
    names = {"d": "day", "h": "hour", "m": "minute"}
    parts = re.findall(r"([0-9]+)([dhm])", window)
    return " ".join(f"{n} {names[u]}{'' if n == '1' else 's'}" for n, u in parts) or window


def duration(span: timedelta, rounding: str = ROUND_CEILING) -> str:
    """``3 h 20 min``: the two largest units, rounded up, so that nobody comes too early; down for what is promised."""
    seconds = max(0, int(Decimal(span.total_seconds()).to_integral_value(rounding)))
    if seconds < 60:
        return f"{seconds} s"
    least = 60 if seconds < 86_400 else 3600
    minutes = int((Decimal(seconds) / least).to_integral_value(rounding)) * least // 60
    parts = [(minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min")]
    return " ".join(f"{n} {unit}" for n, unit in parts if n)


def number(amount: str) -> str:
    """An amount as people read it: cut, never rounded up to a limit that is not reached."""
    value = Decimal(amount)
    places = 1 if value >= 1 else 2 if value * 10 >= 1 else 6  # small amounts get digits enough to be seen
    return exact(str(value.quantize(Decimal(1).scaleb(-places), ROUND_FLOOR)))


def exact(amount: str) -> str:
    """An amount as it is, such as a limit."""
    text = f"{Decimal(amount):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def linked(text: object) -> Markup:
    """Escaped; instants as ``<time>``, https and mailto links to click."""
    told, made, done = str(text), list[str](), 0
    for found in _MARKED.finditer(told):
        made += [html.escape(told[done : found.start()]), _mark(found)]
        done = found.end()
    return Markup("".join([*made, html.escape(told[done:])]))  # noqa: S704 - escaped


def _mark(found: "re.Match[str]") -> str:
    safe = html.escape(found[0])
    if found["link"]:
        return f'<a href="{safe}" rel="noopener">{safe}</a>'
    return f'<time datetime="{found["day"]}T{found["time"]}Z">{safe}</time>'


def _short(text: str, most: int = 80) -> str:
    """The beginning of a text that others chose."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


# --- An admin's templates of these words ---


def rendered(options: HubQuota, told: Refusal, complain: "Callable[[str], None]" = lambda _: None) -> tuple[str, str]:
    """A refusal as text and as HTML, by the admin's templates; where one fails at that, in our own words."""
    given = told.variables()
    return (
        _said_by("message_template", options.message_template, given, complain) or str(given["text"]),
        _said_by("html_template", options.html_template, given, complain) or str(given["html"]),
    )


def _said_by(name: str, template: str, given: Json, complain: "Callable[[str], None]") -> str:
    """What a template makes of it; empty, and complained of, where that is nothing or it fails."""
    why = "it says nothing"
    try:
        said = _compiled(template, name == "html_template").render(given)
    except Exception as fault:  # whatever an expression of a template can do
        said, why = "", f"{type(fault).__name__}: {fault}"
    if not said.strip():
        complain(f"{name} is left out, for a refusal ({given['reason']}): {why}")
    return said if said.strip() else ""


@lru_cache(8)
def _compiled(text: str, as_html: bool) -> jinja2.Template:
    """A class that is refused all at once has its words from a template that is read once."""
    return _environment(as_html).from_string(text)


@lru_cache
def _environment(as_html: bool) -> jinja2.Environment:
    """Templates of Jinja2, as JupyterHub's own pages are; a variable that is not there is an error."""
    made = jinja2.Environment(autoescape=as_html, undefined=jinja2.StrictUndefined)  # noqa: S701 - text is no HTML
    made.filters["linked"] = linked
    return made


def _try_template(text: str, as_html: bool) -> None:
    """Raise TraitError with what is wrong where a template does not render all that a refusal can be."""
    environment = _environment(as_html)
    try:
        unknown = jinja2.meta.find_undeclared_variables(environment.parse(text)) - _SAMPLES[""].variables().keys()
        if unknown:
            known = ", ".join(sorted(_SAMPLES[""].variables()))
            raise TraitError(f"there is no variable {', '.join(sorted(unknown))}, only {known}")
    except jinja2.TemplateError as fault:
        raise TraitError(f"it is no template: {fault}") from fault
    for when, sample in _SAMPLES.items():
        try:
            said = environment.from_string(text).render(sample.variables())
        except Exception as fault:  # whatever an expression of a template can do
            raise TraitError(f"it does not render{when}: {fault}") from fault
        if not said.strip():
            raise TraitError(f"it says nothing{when}")


def _samples() -> Iterator[tuple[str, Refusal]]:
    """What a refusal can be, by the words that follow "it does not render"."""
    noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
    again, sooner = (Moment(noon + timedelta(hours=hours), noon) for hours in (2, 1))
    fields = ("policy", "group", "resource", "used", "limit", "unit", "window", "message")
    full = dict.fromkeys(fields, "x")
    bare = full | dict.fromkeys(("group", "window", "message"), "")
    for quota, of in ((full, ""), (bare, " of a policy without a group, a window and a message")):
        known = Refusal(EXCEEDED, ["Your quota is used up."], user="alice", quotas=[quota], again=again)
        yield of, replace(known, sooner=sooner, servers=["default"])
        yield f" where stopping servers does not help{of}", replace(known, servers=["default"])
        yield f" where no server runs{of}", known
        unknown = replace(known, again=None)
        yield f" where it works again only when servers are stopped{of}", replace(unknown, sooner=sooner, servers=["x"])
        yield f" where nobody knows when it works again{of}", replace(unknown, servers=["default"])
        yield f" where nobody knows when it works again, and no server runs{of}", unknown
    yield " where the quota cannot be read", plain_refusal(FAILED, "Your quota cannot be read.")
    yield " where the chosen group is not the user's", plain_refusal(FOREIGN, "You are not in it.")
    yield " where the chosen options cannot be used", plain_refusal(UNUSABLE, "They cannot be used.")


_SAMPLES = dict(_samples())


# --- Counting, in the hub's own registry: words of fixed lists are the only labels ---

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """What the hub's /hub/metrics tells of launches; made once in a registry, however often this file is loaded."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        # On the registry itself: whoever loads the file under a second name finds those of the first.
        self._made: dict[str, Any] = vars(registry).setdefault("hubquota_metrics", {})
        counter, named = self._counter, "hubquota_hook_"
        self.allowed = counter(f"{named}allowed", "Launches that the hook let through by the operator's word.")
        self.refused = counter(
            f"{named}refused", "Launches refused by the operator's word, for a group or options, by reason.", "reason"
        )
        self.failed_open = counter(f"{named}failed_open", "Launches that went on without an answer.", "cause")
        self.failed_closed = counter(f"{named}failed_closed", "Launches refused for want of an answer.", "cause")
        self.events = counter(f"{named}events", "Events of decisions that the API server took.")
        self.dropped = counter(f"{named}events_dropped", "Events of decisions that were lost, the oldest first.")
        self.untold = counter(f"{named}users_untold", "Users of whom the operator could not be told behind a launch.")
        self.seconds = self._once(
            Histogram, f"{named}decision_seconds", "Seconds that a decision took.", buckets=_BUCKETS
        )

    def _counter(self, name: str, says: str, *labels: str) -> Any:
        return self._once(Counter, name, says, labels)

    def _once(self, kind: Any, name: str, *more: Any, **options: Any) -> Any:
        if name not in self._made:
            try:
                self._made[name] = kind(name, *more, **options, registry=self._registry)
            except ValueError:  # somebody else's has the name: count, but show nothing
                self._made[name] = kind(name, *more, **options, registry=None)
        return self._made[name]


# --- Not waiting again and again for what does not come ---

#: Failures in a row after which launches do not wait for another one, and seconds until one tries again.
_FAILURES = 3
_REST = 10.0


class Unanswered(Exception):
    """The question cannot be answered now; the message says what is wrong and what to mend.

    ``cause``: a word for metrics. ``waited``: the time of whoever asks was used up, or may be, by one who asks again.
    """

    def __init__(self, message: str, cause: str, waited: bool = False) -> None:
        super().__init__(message)
        self.cause, self.waited = cause, waited


@dataclass
class Breaker:
    """Opens after failures in a row: then one launch tries now and then, and the others need not wait for theirs."""

    _failures: int = 0
    _since: float = 0.0
    _trying: bool = False
    _last: "Unanswered | None" = None

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Around what may take long. Raises Unanswered at once where it failed too often, and takes note of it."""
        trial = self._admit()
        try:
            yield
        except Unanswered as fault:
            self._note(fault if fault.waited else None)
            raise
        else:
            self._note(None)
        finally:
            self._trying = self._trying and not trial

    def _admit(self) -> bool:
        """Whether this is the launch that tries; raises Unanswered where another one does, or none is due."""
        if self._last is None or self._failures < _FAILURES:
            return False
        if self._trying or time.monotonic() - self._since < _REST:
            raise Unanswered(f"{self._last} (not tried again for this launch)", self._last.cause)
        self._trying = True
        return True

    def _note(self, fault: "Unanswered | None") -> None:
        self._failures = self._failures + 1 if fault else 0
        self._last, self._since = fault, time.monotonic()


def _unexpected(fault: Exception) -> Unanswered:
    """Our own fault, or that of a callable of the hub's configuration: where it is tells whose."""
    frames = traceback.extract_tb(fault.__traceback__)
    where = f", in {Path(frames[-1].filename).name} line {frames[-1].lineno}" if frames else ""
    return Unanswered(
        f"{type(fault).__name__}: {_short(' '.join(str(fault).split()), 500)}{where}: mend that where it is the hub's "
        "configuration, or report it where it is the hook",
        "internal",
    )


# --- Many launches at once: so many in one turn of the loop, and one reading for all of them ---

#: Launches that begin in one turn of the hub's loop: a few milliseconds' worth.
_IN_A_TURN = 8


@dataclass
class Turns:
    """Lets launches begin in the order in which they came, so many in one turn of the hub's loop."""

    most: int = _IN_A_TURN
    _left: int = 0
    _waiting: "deque[asyncio.Future[None]]" = field(default_factory=deque)
    _turning: bool = False

    async def mine(self) -> None:
        """Wait for it, where there is anything to wait for."""
        loop = asyncio.get_running_loop()
        if not self._turning:
            self._turning, self._left = True, self.most
            loop.call_soon(self._turn, loop)
        if self._left and not self._waiting:
            self._left -= 1
            return
        self._waiting.append(turn := loop.create_future())
        await turn

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """A new turn. It is the last one where nobody waits: the loop then rests."""
        self._left = self.most
        while self._waiting and self._left:
            turn = self._waiting.popleft()
            if not turn.done():  # one who was cancelled takes nobody's place
                turn.set_result(None)
                self._left -= 1
        self._turning = self._left < self.most
        if self._turning:
            loop.call_soon(self._turn, loop)


class Shelf(Generic[T]):
    """What all launches share. It is read again behind those who use it; who finds it too old waits for that."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        #: What was found, and when its reading began.
        self._found: tuple[T, float] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._began = 0.0

    def begin(self) -> None:
        """Have it read, behind the launch, where it was not read within the last second; one reading at a time."""
        if self._reading is None and not self._is_of(asyncio.get_running_loop().time() - _AGAIN_SECONDS):
            self._start()

    async def within(self, seconds: float) -> T:
        """What is there, read within so many seconds, or else now. Raises what its reading raises."""
        asked = asyncio.get_running_loop().time()
        self.begin()
        while self._found is None or not self._is_of(asked - seconds):
            reading, began = self._reading or self._start(), self._began
            try:
                await asyncio.shield(reading)  # one who gives up must not take the answer from the others
            except Exception:
                if began >= asked:
                    raise  # else it had begun before, and another may come to more
        return self._found[0]

    def _start(self) -> "asyncio.Task[None]":
        self._began = asyncio.get_running_loop().time()
        self._reading = asyncio.ensure_future(self._reads(self._began))
        self._reading.add_done_callback(_looked_at)
        return self._reading

    def _is_of(self, since: float) -> bool:
        return self._found is not None and self._found[1] >= since

    async def _reads(self, began: float) -> None:
        try:
            self._found = await self._read(), began
        finally:
            self._reading = None


def _looked_at(task: "asyncio.Task[Any]") -> None:
    """Take note of how it ended: where nobody waited for it, that is nobody's fault."""
    if not task.cancelled():
        task.exception()


# --- Reading: raw JSON, a few at a time, over KubeSpawner's connections ---

_API = "/apis/hubquota.dev/v1alpha1"
_HEARTBEAT = "hubquota-heartbeat"
_AT_CAP = "hubquota.dev/at-cap"
_IN_FLIGHT = 8
#: Users that are told at a time; and for how many seconds this waits for launches that have yet to read.
_TOLD_AT_ONCE, _READS_FIRST_SECONDS = 16, 1.0
#: Seconds after which what is shared is read again behind the launches that use it; and how old it may be, read before
#: a launch, for that launch: policies, and the heartbeat, of which the age is told in minutes.
_AGAIN_SECONDS, _POLICIES_SECONDS, _HEARTBEAT_SECONDS = 1.0, 2.0, 30.0
#: Bytes of JSON beyond which a list is parsed item by item, so that the hub's loop has its turn in between.
_BIG = 64 * 1024
_LIST = '{"apiVersion":"hubquota.dev/v1alpha1","items":['
_PLAIN_NAME = re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){0,51}[a-z0-9]|[a-z]")


@dataclass(frozen=True)
class Beat:
    """The operator's heartbeat, as it was read when the API server's clock showed ``read``."""

    renewed: "datetime | None"
    """None: there is none."""
    read: datetime
    at_cap: str = ""
    """As many UserQuotas as the hub may have are there: this many. Empty: there are fewer."""


@dataclass
class Shared:
    """What a launch is judged by beside its user's own: policies by name, the heartbeat, and the time."""

    policies: Mapping[str, Json]
    heartbeat: "datetime | None"
    now: datetime
    ahead: timedelta = timedelta(minutes=5)
    """How far the operator's clock may be ahead of the API server's, as for its heartbeat."""


class Reader:
    """The API server, through the client that KubeSpawner has. ``timeout``: seconds for each call."""

    def __init__(self, namespace: str, timeout: float) -> None:
        self.namespace, self.timeout = namespace, timeout
        self.policies, self.beat = Shelf(self._policies), Shelf(self._beat)
        #: Groups that policies named when they were last read.
        self.named_groups: frozenset[str] = frozenset()
        self._slots, self._writes = asyncio.Semaphore(_IN_FLIGHT), asyncio.Semaphore(_TOLD_AT_ONCE)
        #: First reads of launches, in line or under way; set while there is none.
        self._reads, self._no_reads = 0, asyncio.Event()
        self._no_reads.set()
        #: When the operator was told of a user last, by the loop's clock.
        self.written = -math.inf
        #: The API server's clock less ours, by its last answer.
        self._apart = timedelta(0)
        self._quotas = f"{_API}/namespaces/{namespace}/userquotas"

    async def user_quota(self, user: str, since: str = "0") -> "tuple[Json | None, datetime]":
        """A user's UserQuota, None: there is none; and the API server's clock. Raises Unanswered.

        ``since``: a resourceVersion that the API server has to know by then.
        """
        path = f"{self._quotas}/{user_quota_name(user)}"
        async with self._slots:  # a few at a time
            status, body, date = await self._send("GET", f"{path}?resourceVersion={since}")
        return None if status == 404 else _checked(status, body, path), date

    @contextlib.contextmanager
    def beginning(self) -> Iterator[None]:
        """Around the first read of a launch, from when it stands in line."""
        self._reads += 1
        self._no_reads.clear()
        try:
            yield
        finally:
            self._reads -= 1
            if not self._reads:
                self._no_reads.set()

    def now(self) -> datetime:
        """The API server's clock, by its last answer; the hub's own before there was one."""
        return _now() + self._apart

    async def declare(self, user: str, groups: Sequence[str], known: "Json | None") -> "tuple[Json, datetime]":
        """Say in the UserQuota who the user is and what groups they are in. Raises Unanswered.

        A few at a time, and not before all have read who have yet to: of a class that comes at once.
        """
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._no_reads.wait(), _READS_FIRST_SECONDS)
        async with self._writes:
            told = await self._declare(user, groups, known)
        self.written = asyncio.get_running_loop().time()
        return told

    async def _declare(self, user: str, groups: Sequence[str], known: "Json | None") -> "tuple[Json, datetime]":
        spec = {"user": user, "groups": list(groups), "groupsObservedAt": self.now().strftime("%Y-%m-%dT%H:%M:%SZ")}
        path = self._quotas
        if known is None:
            body: Json = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota"}
            body |= {"metadata": {"name": user_quota_name(user)}, "spec": spec}
            status, told, date = await self._send("POST", path, body)
            if status != 409:
                return _checked(status, told, path, "write"), date
        path = f"{path}/{user_quota_name(user)}"
        status, told, date = await self._send("PATCH", path, {"spec": spec})
        return _checked(status, told, path, "write"), date

    async def tell(self, event: Json) -> None:
        """Write an Event; one that is there already was written. Raises Unanswered."""
        path = f"/api/v1/namespaces/{self.namespace}/events"
        status, told, _ = await self._send("POST", path, event)
        if status != 409:
            _checked(status, told, path, "write")

    async def changes(self, since: str, seconds: float) -> AsyncIterator[Json]:
        """What becomes of UserQuotas after a resourceVersion, for so many seconds; raises whatever goes wrong."""
        path = f"{self._quotas}?watch=1&resourceVersion={since}&timeoutSeconds={math.ceil(seconds)}"
        async with await self._request("GET", path, None, seconds + self.timeout) as answer:
            if answer.status != 200:
                raise Unanswered(f"{path} is answered with {answer.status}", "unavailable")
            async for line in answer.content:
                yield json.loads(line)

    async def _policies(self) -> Mapping[str, Json]:
        path = f"{_API}/namespaces/{self.namespace}/quotapolicies"
        status, listed, _ = await self._send("GET", f"{path}?resourceVersion=0")
        policies = {item["metadata"]["name"]: item for item in _checked(status, listed, path)["items"]}
        for policy in policies.values():
            policy["metadata"].pop("managedFields", None)  # it is kept for long, and nobody reads it
        self.named_groups = frozenset(name for policy in policies.values() for name in _groups_of(policy))
        return policies

    async def _beat(self) -> Beat:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{_HEARTBEAT}"
        status, beat, date = await self._send("GET", path)
        if status == 404:
            return Beat(None, date)
        at_cap = (_checked(status, beat, path)["metadata"].get("annotations") or {}).get(_AT_CAP, "")
        return Beat(instant(beat["spec"]["renewTime"]), date, at_cap)

    async def _send(self, method: str, path: str, body: "Json | None" = None) -> tuple[int, Json, datetime]:
        """The HTTP status, the answer and the API server's clock. Raises Unanswered."""
        try:
            async with await self._request(method, path, body, self.timeout) as answer:
                text = (await answer.read()).decode()
        except asyncio.TimeoutError:  # noqa: UP041 - Python 3.10
            raise _too_slow(self.timeout) from None
        except Exception as fault:  # a client of another version has other exceptions
            raise Unanswered(
                f"the API server cannot be reached ({type(fault).__name__}: {_short(str(fault), 200)}): see whether it "
                "is up, and whether the hub's NetworkPolicy lets the hub reach it",
                "unreachable",
                waited=True,
            ) from fault
        date = _date(answer.headers.get("Date"))
        self._apart = _apart(date)
        try:
            return answer.status, await _parsed(text), date
        except ValueError:
            if answer.status == 404:  # of a kind that it does not know the API server says so in plain text
                return answer.status, {}, date
            raise Unanswered(
                f"{path} is answered with {answer.status} and no JSON: see what stands between the hub and the API "
                "server",
                "unreachable",
                waited=True,
            ) from None

    async def _request(self, method: str, path: str, body: "Json | None", seconds: float) -> Any:
        """The answer, of which the body is still to be read. ``path``: with its query, as it is sent."""
        client = shared_client("CustomObjectsApi").api_client
        headers = {"Accept": "application/json"}
        if body is not None:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            headers["Content-Type"] = kind
        session = _straight(client)
        if session is None:
            return await _roundabout(client, method, path, headers, body, seconds)
        headers.update(client.default_headers)
        await _awaited(client.update_params_for_auth(headers, [], ["BearerToken"]))  # tokens are renewed in it
        return await session.request(
            method,
            URL(client.configuration.host + path, encoded=True),
            headers=headers,
            data=None if body is None else json.dumps(body).encode(),
            timeout=aiohttp.ClientTimeout(total=seconds),
        )


#: By the session of KubeSpawner's client.
_STRAIGHT: "WeakKeyDictionary[aiohttp.ClientSession, aiohttp.ClientSession]" = WeakKeyDictionary()


def _straight(client: Any) -> "aiohttp.ClientSession | None":
    """A session over the client's own connections that looks for no proxy and no .netrc, in a thread, at each call.

    None: there is a proxy, or the client is made otherwise than those that are known here.
    """
    rest = getattr(client, "rest_client", None)
    theirs = getattr(rest, "pool_manager", None)
    if not isinstance(theirs, aiohttp.ClientSession) or not hasattr(client, "update_params_for_auth"):
        return None
    ours = _STRAIGHT.get(theirs)
    if ours is None and not _has_ways(client.configuration.host, rest):
        ours = _STRAIGHT[theirs] = aiohttp.ClientSession(
            connector=theirs.connector, connector_owner=False, cookie_jar=theirs.cookie_jar, read_bufsize=2**21
        )
    return ours


def _has_ways(host: str, rest: Any) -> bool:
    """Whether the client has a proxy or another TLS name, or would find a proxy in the environment."""
    url = URL(host)
    in_environment = url.scheme in getproxies() and not proxy_bypass(url.host or "")
    return bool(getattr(rest, "proxy", None) or getattr(rest, "server_hostname", None) or in_environment)


async def _roundabout(
    client: Any, method: str, path: str, headers: dict[str, str], body: "Json | None", seconds: float
) -> Any:
    """The same as the client does it by itself."""
    return await client.call_api(
        path,
        method,
        header_params=headers,
        body=body,
        auth_settings=["BearerToken"],
        _preload_content=False,
        _request_timeout=seconds,
    )


async def _parsed(text: str) -> Any:
    """JSON; a long list of ours item by item, with turns of the hub's loop in between. Raises ValueError."""
    if len(text) > _BIG and text.startswith(_LIST):
        with contextlib.suppress(ValueError):  # it is written otherwise than API servers write
            items, at = await _items(text, len(_LIST))
            return {**json.loads(_LIST + text[at:]), "items": items}
    return json.loads(text)


async def _items(text: str, at: int) -> tuple[list[Any], int]:
    """The items of a list, and where it ends. Raises ValueError."""
    decoder, items, since = json.JSONDecoder(), list[Any](), at
    while text[at : at + 1] != "]":
        item, at = decoder.raw_decode(text, at + (text[at : at + 1] == ","))
        items.append(item)
        if at - since > _BIG:
            since = at
            await asyncio.sleep(0)
    return items, at


def user_quota_name(user: str) -> str:
    """The name of a user's UserQuota: the operator's function, word for word."""
    if _PLAIN_NAME.fullmatch(user):
        return user
    digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    slug = re.sub(r"[^a-z0-9]+", "-", user.lower()).strip("-")[:40].strip("-")
    return f"u-{slug}--{digest}" if slug[:1].isdigit() else f"{slug or 'u'}--{digest}"


def _too_slow(seconds: float) -> Unanswered:
    return Unanswered(
        f"the API server has not answered within {seconds:g} s: see whether it is overloaded",
        "timeout",
        waited=True,
    )


def _checked(status: int, body: Json, path: str, verb: str = "read") -> Json:
    if status in (401, 403):
        raise Unanswered(
            f"the hub's service account may not {verb} {path}: apply hubquota's Role for the hub", "forbidden"
        )
    if status == 404:
        raise Unanswered(f"{path} is not there: apply hubquota's CRDs", "crds")
    if status >= 400:
        words = _short(str(body.get("message", "")), 200)
        unable = status == 429 or status >= 500
        raise Unanswered(
            f"the API server answers {path} with {status} {words}: see its log, or whether hook and CRDs are of one "
            "version",
            "unavailable" if unable else "rejected",
            waited=unable,
        )
    return body


@lru_cache(4)
def _second(header: str) -> datetime:
    """What a Date header tells; within a second all tell the same. Raises ValueError or TypeError."""
    told = parsedate_to_datetime(header)
    return told if told.tzinfo else told.replace(tzinfo=timezone.utc)


def _date(header: "str | None") -> datetime:
    """The API server's clock; the hub's, where the server does not tell its own."""
    with contextlib.suppress(ValueError, TypeError):
        return _second(header or "")
    return _now()


def _apart(date: datetime) -> timedelta:
    """How far the API server's clock is ahead of the hub's, where it is more than whole seconds can tell."""
    apart = date - _now()
    return apart if abs(apart) > 2 * _TICK else timedelta(0)


def _now() -> datetime:
    return datetime.now(timezone.utc)


# --- What was read: whose it is, whether it can be believed, and what it says of a launch ---


@dataclass
class Answer:
    """What the operator says for a launch."""

    verdict: Verdict
    running: Sequence[Json]
    now: datetime
    uids: Mapping[str, str] = field(default_factory=dict)
    """Of the policies, by name."""
    first: bool = False
    """The operator has not spoken of this user yet."""
    told: "asyncio.Future[tuple[Json, datetime] | None] | None" = None
    """What the operator is told of the user, or was, behind the launch."""


@contextlib.contextmanager
def _readable(launch: Launch) -> Iterator[None]:
    """Around what reads in objects of the API server. Raises Unanswered where they are not what they should be."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as fault:
        raise Unanswered(
            f"UserQuota {user_quota_name(launch.user)}, or a QuotaPolicy, cannot be read ({type(fault).__name__}: "
            f"{_short(str(fault), 200)}): see whether hook, operator and CRDs are of one version; the operator makes a "
            "UserQuota that you delete anew",
            "malformed",
        ) from fault


def _doubt(beat: Beat, now: datetime, most: float) -> "Unanswered | None":
    """Why the operator's word does not count: it is too old, by the API server's clock; None: it counts."""
    if beat.renewed is None:
        return Unanswered(
            f"the operator's heartbeat, the Lease {_HEARTBEAT}, is not there: see whether hubquota's operator runs and "
            "serves this namespace",
            "heartbeat",
        )
    age = (now - beat.renewed).total_seconds()
    if age > most:
        return Unanswered(
            f"the operator's heartbeat is {age:.0f} s old: see whether hubquota's operator runs, and whether its clock "
            "is right",
            "heartbeat",
        )
    ahead = (beat.renewed - beat.read).total_seconds()
    if ahead > most:
        return Unanswered(
            f"the operator's heartbeat is {ahead:.0f} s ahead of the API server's clock: set the clocks of their nodes",
            "clock",
        )
    return None


def _own(known: "Json | None", launch: Launch) -> None:
    """Raise Unanswered where the UserQuota under the user's name is somebody else's."""
    if known is not None and known["spec"].get("user") != launch.user:
        name = known["metadata"]["name"]
        raise Unanswered(f"UserQuota {name} is not of {launch.user!r}, though its name says so: delete it", "foreign")


def _has_status(known: "Json | None") -> bool:
    """Whether the operator has ever spoken of the user."""
    return bool(known and known.get("status"))


def _is_answered(known: Json, generation: "int | None" = None) -> bool:
    """Whether the status speaks for a generation of the spec; None: for the one that is there."""
    asked = known["metadata"].get("generation", 0) if generation is None else generation
    return bool(known.get("status")) and known["status"].get("observedGeneration", 0) >= asked


def _is_told(known: Json, groups: Sequence[str]) -> bool:
    """Whether the operator was told that these, in order, are the user's groups."""
    return sorted(known["spec"].get("groups", ())) == groups


def _is_settled(known: Json, groups: Sequence[str]) -> bool:
    """Whether there is nothing to tell of the user, and nothing to wait for."""
    return _is_told(known, groups) and _is_answered(known) and not _is_ignored(known)


def _is_ignored(known: Json) -> bool:
    return bool((known.get("status") or {}).get("decision") == "Ignored")


def _concluded(known: Json, shared: Shared, launch: Launch) -> Answer:
    """What the operator says for a launch. Raises Unanswered where it passes the UserQuota over."""
    if _is_ignored(known):
        summary = known["status"].get("summary", "ignored")
        raise Unanswered(f"UserQuota {known['metadata']['name']} is {summary}", "ignored")
    return _answer(known, shared, launch)


def _answer(known: Json, shared: Shared, launch: Launch) -> Answer:
    """Judge a launch by a UserQuota's status and by the pools that it names."""
    status = known.get("status", {})
    pools = _pools(known, shared.policies)
    states = [{**pool["status"]["pool"], "shared": True} for pool in pools if _charges(pool, launch)]
    quotas = [*status.get("quotas", ()), *states]
    running = [*status.get("running", ()), *({"server": name} for name in status.get("pending", ()))]
    spoken = (status, *(pool["status"] for pool in pools))
    now = max(_told_at(told, shared.now, shared.ahead) for told in spoken)
    verdict = judge(quotas, running, launch, now, _foreseen(status))
    return Answer(verdict, running, now, _uids(shared), first=not status)


def _pools(known: Json, policies: Mapping[str, Json]) -> list[Json]:
    """The policies of the user's pools. Raises Unanswered where the operator has not told yet what is used of one."""
    pools = _named(known, policies)
    for pool in pools:
        if _pool_of(pool) is None:
            raise Unanswered(
                f"the operator has not told yet what is used of the pool {pool['metadata']['name']}: see its log, and "
                "the status of that QuotaPolicy",
                "unanswered",
            )
    return pools


def _untold(known: Json, policies: Mapping[str, Json]) -> bool:
    """Whether the operator has not told yet what is used of a pool of the user's."""
    return any(_pool_of(pool) is None for pool in _named(known, policies))


def _named(known: Json, policies: Mapping[str, Json]) -> list[Json]:
    """The policies of the pools that a UserQuota's status names; one that is there no more refuses nobody."""
    return [policies[name] for name in _pool_names(known) if name in policies]


def _pool_names(known: "Json | None") -> Sequence[str]:
    names: Sequence[str] = ((known or {}).get("status") or {}).get("pools", ())
    return names


def _pool_of(policy: Json) -> "Json | None":
    """What the operator says is used of a pool; None: nothing yet."""
    return (policy.get("status") or {}).get("pool") or None


def _told_at(status: Json, now: datetime, ahead: timedelta) -> datetime:
    """When a status was made, where that is later than ``now``; else ``now``.

    One that has just been made can be: the API server tells whole seconds, and the operator's clock may be ahead of it.
    What is used up at that instant is used up. One that is further ``ahead`` was made by a clock that was wrong.
    """
    made = instant(status["asOf"]) if "asOf" in status else now
    return made if now < made <= now + ahead else now


def _leans_on_policies(known: Json) -> bool:
    """Whether policies have a part in the answer: they hold the pools, and what is told of a decision names them."""
    quotas = known["status"].get("quotas", ())
    return bool(known["status"].get("pools")) or any("window" not in q or q.get("blocked") for q in quotas)


def _uids(shared: Shared) -> dict[str, str]:
    return {name: policy["metadata"].get("uid", "") for name, policy in shared.policies.items()}


def _charges(policy: Json, launch: Launch) -> bool:
    """Whether a launch charges a pool of the user's: one for a chosen group charges no other group's."""
    scope = policy.get("spec", {}).get("scope", {})
    named = scope.get("everyone") or launch.user in scope.get("users", ())
    return not launch.group or bool(named) or launch.group in scope.get("groups", ())


def _matters(policy: Json, user: str, groups: Sequence[str]) -> bool:
    """Whether a policy could refuse a user who has used nothing: a pool, storage, or a limit of 0."""
    if not _is_applied(policy):
        return False  # one too many, of a later version, or broken
    spec = policy.get("spec", {})
    scope, limit = spec.get("scope", {}), spec.get("limit", {})
    named = user in scope.get("users", ()) or not set(groups).isdisjoint(scope.get("groups", ()))
    if not (scope.get("everyone") or scope.get("fallback") or named):
        return False
    zero = "value" in limit and Decimal(str(limit["value"])) == 0
    return zero or spec.get("sharing") == "Shared" or spec.get("resource") == "storage"


def _is_applied(policy: Json) -> bool:
    """Whether the operator applies the policy, or has not said yet. It says so of the generation that it has seen."""
    status = policy.get("status") or {}
    ready = [c for c in status.get("conditions", ()) if c.get("type") == "Ready" and c.get("status") == "False"]
    return not ready or status.get("observedGeneration") != policy["metadata"].get("generation")


def _groups_of(policy: Json) -> Sequence[str]:
    """The groups that a policy names; none where it is not what a policy should be."""
    scope = (policy.get("spec") or {}).get("scope")
    groups = scope.get("groups") if isinstance(scope, dict) else None
    return [name for name in groups if isinstance(name, str)] if isinstance(groups, list) else []


# --- Waiting for the operator's answers: one watch for all who wait, and polling where there is none ---

#: Seconds between looks at a UserQuota where there is no watch; and from when on one looks beside a watch, for one that
#: tells nothing any more.
_POLL_SECONDS, _DOUBT_SECONDS = 0.1, 1.0
#: Times `first_launch_timeout` that a launch of many waits at most, while the others get their answers.
_PATIENCE = 4
#: Changes that are looked at before the hub's loop has its turn again.
_CHANGES = 8


@dataclass(eq=False)
class Expected:
    """An answer that a launch waits for. ``since``: the watch tells all that comes after; None: there is no watch.

    ``alone``: a watch has failed it, and it looks for itself.
    """

    name: str
    since: "int | None"
    alone: bool = False
    found: "Json | None" = None
    """The UserQuota as the watch told it last."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def told(self, seconds: float) -> bool:
        """Wait for news; whether there were any in so many seconds.

        Not by wait_for: up to Python 3.11 that loses a cancellation that comes with the news, such as the watch's end.
        """
        news = asyncio.ensure_future(self.news.wait())
        try:
            come, _ = await asyncio.wait({news}, timeout=seconds)
        finally:
            news.cancel()
        if come:
            self.news.clear()
        return bool(come)


class Answers:
    """The operator's answers. The watch lasts from the first launch that waits until the last has what it waits for.

    ``seconds``: how long it lasts at most. Where it fails, or cannot be had, each launch that waits looks for itself.
    """

    def __init__(self, reader: Reader, seconds: float) -> None:
        self._reader, self._seconds = reader, seconds
        self._waiting: dict[str, list[Expected]] = {}
        self._watch: asyncio.Task[None] | None = None
        #: The resourceVersion up to which the watch has told all, and when it told something last, by the loop's clock.
        self._position: int | None = None
        self._heard = -math.inf
        #: When the operator was seen to answer for anybody last.
        self.answered = -math.inf

    @contextlib.contextmanager
    def expecting(self, user: str) -> Iterator[Expected]:
        """Around the telling of a user and the waiting for what comes of it: nothing is missed from here on."""
        one = Expected(user_quota_name(user), self._position)
        self._waiting.setdefault(one.name, []).append(one)
        try:
            yield one
        finally:
            self._waiting[one.name].remove(one)
            if not self._waiting[one.name]:
                del self._waiting[one.name]
            if not self._waiting:
                self._end()

    async def answer(self, one: Expected, launch: Launch, told: Json, now: datetime) -> "tuple[Json, datetime]":
        """The answer to what was told when the API server's clock showed ``now``, and what it shows then.

        Waits for ever. Raises Unanswered where the user's own cannot be read.
        """
        began, generation = asyncio.get_running_loop().time(), told["metadata"].get("generation", 0)
        self._begin(told)
        look, pause = not self._covers(one, told), _DOUBT_SECONDS
        while True:
            if look:
                known, date = await self._reader.user_quota(launch.user, str(one.since or 0))
                if known and _is_answered(known, generation):
                    self.answered = asyncio.get_running_loop().time()
                    return known, date
            elif one.found is not None and _is_answered(one.found, generation):
                waited = asyncio.get_running_loop().time() - began
                return one.found, now + timedelta(seconds=int(waited))
            watched = one.since is not None
            news = await one.told(pause if watched else _POLL_SECONDS)
            look = one.since is None or not (news or self._speaks(pause))
            pause *= 2

    def _speaks(self, seconds: float) -> bool:
        """Whether the watch has told something of anybody in so many seconds."""
        return asyncio.get_running_loop().time() - self._heard < seconds

    def _covers(self, one: Expected, told: Json) -> bool:
        """Whether the watch tells of all that comes after what was told, and began before it could."""
        revision = _revision(told)
        return one.since is not None and revision is not None and one.since <= revision

    def _begin(self, told: Json) -> None:
        """Watch from what was told on, unless it is watched already."""
        start = _revision(told)
        if self._watch is not None or start is None:
            return
        self._position = start
        for one in self._all():
            one.since = None if one.alone else start
        self._watch = asyncio.ensure_future(self._watches(start))
        self._watch.add_done_callback(self._over)

    async def _watches(self, start: int) -> None:
        number = 0
        async for change in self._reader.changes(str(start), self._seconds):
            number += 1
            self._take(change)
            if number % _CHANGES == 0:
                await asyncio.sleep(0)

    def _take(self, change: Json) -> None:
        """Raises ValueError where the watch is told to begin anew: who waits looks then."""
        found = change["object"]
        if change["type"] == "ERROR":
            raise ValueError(str(found.get("message", "")))
        self._position, self._heard = _revision(found), asyncio.get_running_loop().time()
        if _is_answered(found):
            self.answered = self._heard
        for one in self._waiting.get(found["metadata"]["name"], ()):
            one.found = found
            one.news.set()

    def _all(self) -> Iterator[Expected]:
        for waiting in self._waiting.values():
            yield from waiting

    def _over(self, watch: "asyncio.Task[None]") -> None:
        """It has ended before the last launch had its answer: they look for themselves."""
        _looked_at(watch)
        if self._watch is watch:
            self._watch = self._position = None
            for one in self._all():
                one.since, one.alone = None, True
                one.news.set()

    def _end(self) -> None:
        if self._watch is not None:
            watch, self._watch, self._position = self._watch, None, None
            watch.cancel()


def _revision(found: Json) -> "int | None":
    """The resourceVersion; None: it is of no form that can be compared."""
    told = str(found["metadata"].get("resourceVersion", ""))
    return int(told) if told.isdecimal() and told.isascii() else None


# --- Telling the operator of users, where no launch waits for it ---

#: Users that can wait to be told; and for how many seconds: one who is told later could be one too many, of a hub that
#: is full by then.
_MOST_USERS, _TOLD_SECONDS = 1000, 10.0


class Complaints:
    """What goes wrong off the launches' path is said once for each cause, until it works again."""

    def __init__(self, log: Any, words: str) -> None:
        self._log, self._words = log, words
        self._last = ""

    def of(self, fault: "Unanswered") -> None:
        """Say it, where it is news."""
        if fault.cause != self._last:
            self._last = fault.cause
            self._log.warning("hubquota: %s: %s", self._words, fault)

    def none(self) -> None:
        """It works."""
        self._last = ""


@dataclass
class Untold:
    """A user of whom the operator is to be told; ``told``: what is there then, None: it could not be told.

    ``until``: by the loop's clock, when it is too late.
    """

    user: str
    groups: Sequence[str]
    known: "Json | None"
    told: "asyncio.Future[tuple[Json, datetime] | None]"
    until: float


class Herald:
    """Tells the operator of users, a few at a time. Of more than can wait, the oldest are left out and counted."""

    def __init__(self, reader: Reader, log: Any, metrics: Metrics, most: int = _MOST_USERS) -> None:
        self._reader, self._metrics, self._most = reader, metrics, most
        self._complaints = Complaints(log, "the operator cannot be told of a user, whose launch went on")
        self._waiting: deque[Untold] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(
        self, user: str, groups: Sequence[str], known: "Json | None"
    ) -> "asyncio.Future[tuple[Json, datetime] | None]":
        """Have it told when there is time."""
        if len(self._waiting) >= self._most:
            self._lose(self._waiting.popleft())
        loop = asyncio.get_running_loop()
        told = loop.create_future()
        self._waiting.append(Untold(user, groups, known, told, loop.time() + _TOLD_SECONDS))
        if len(self._tasks) < _TOLD_AT_ONCE:
            self._tasks.add(task := asyncio.ensure_future(self._run()))
            task.add_done_callback(self._tasks.discard)
        return told

    async def _run(self) -> None:
        while self._waiting:
            one = self._waiting.popleft()
            try:
                if asyncio.get_running_loop().time() > one.until:
                    raise _too_slow(_TOLD_SECONDS)
                told = await self._reader.declare(one.user, one.groups, one.known)
            except Exception as fault:
                self._complaints.of(fault if isinstance(fault, Unanswered) else _unexpected(fault))
                self._lose(one)
            else:
                self._complaints.none()
                if not one.told.done():
                    one.told.set_result(told)

    def _lose(self, one: Untold) -> None:
        self._metrics.untold.inc()
        if not one.told.done():
            one.told.set_result(None)


# --- Telling the operator what was decided, off the launch's path; docs/decisions-of-launches.md has the form ---

_REPORTER = "hubquota-hook"
_EVENT_REASONS = {
    "refused": "LaunchRefused",
    "warned": "LaunchWarned",
    "observed": "LaunchObserved",
    "failed-open": "LaunchFailedOpen",
    "failed-closed": "LaunchFailedClosed",
}
#: What the operator takes of a decision: bytes, policies or resources, and amounts.
_DECISION_BYTES = 16_384
_MOST_TOLD = 32
_AMOUNT = re.compile(r"[0-9]{1,30}([.][0-9]{1,9})?", re.ASCII)
_MICROS = "%Y-%m-%dT%H:%M:%S.%fZ"
#: Seconds between attempts to tell of decisions while the API server is away.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


@dataclass(frozen=True)
class Decision:
    """What became of a launch. ``until``: when it works again, as the user was told; None: nobody could say."""

    kind: str
    launch: Launch
    quotas: Sequence[Json] = ()
    until: "datetime | None" = None
    reason: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    at: datetime = field(default_factory=lambda: _now())


def decision_event(decision: Decision, namespace: str, uids: Mapping[str, str]) -> Json:
    """The Event that tells of a decision. ``uids``: of policies, by name."""
    launch, name = decision.launch, user_quota_name(decision.launch.user)
    refusing = decision.kind in ("refused", "failed-closed")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{name}.{decision.id.replace('-', '')[:16]}",
            "namespace": namespace,
            "annotations": {f"{_OURS}decision": _fitting(_told_decision(decision, uids))},
        },
        "involvedObject": {
            "apiVersion": "hubquota.dev/v1alpha1",
            "kind": "UserQuota",
            "name": name,
            "namespace": namespace,
        },
        "reportingComponent": _REPORTER,
        "reportingInstance": (os.environ.get("HOSTNAME") or "hub")[:128],
        "source": {"component": _REPORTER},
        "reason": _EVENT_REASONS[decision.kind],
        "message": _bytes_of(_storable(decision.reason or f"{decision.kind}: {launch.user}"), 1024),
        "type": "Warning" if refusing or decision.kind == "failed-open" else "Normal",
        "action": "Launch",
        "eventTime": decision.at.strftime(_MICROS),
    }


def _told_decision(decision: Decision, uids: Mapping[str, str]) -> Json:
    """The annotation, without what is empty."""
    launch = decision.launch
    request = {**launch.request, "servers": 1000}
    asked = {_storable(name): amount for name, amount in sorted(request.items())}
    kept = {name: amount for name, amount in asked.items() if 0 < len(name) < 318 and 0 <= amount < 2**63}
    quotas = [told for quota in decision.quotas for told in _told_quotas(quota, decision.until, uids)]
    said = {
        "id": decision.id,
        "at": decision.at.strftime(_MICROS),
        "kind": decision.kind,
        "user": _storable(launch.user),
        "server": _storable(launch.server, _LONGEST_NAME),
        "request": dict(list(kept.items())[-_MOST_TOLD:]),
        "profile": _storable(launch.profile, _LONGEST_NAME),
        "group": _storable(launch.group, _LONGEST_NAME),
        "quotas": quotas[:_MOST_TOLD],
        "reason": _storable(decision.reason, 4096),
    }
    return {name: value for name, value in said.items() if value}


def _told_quotas(quota: Json, until: "datetime | None", uids: Mapping[str, str]) -> Iterator[Json]:
    """A quota as the operator takes it, of each policy that decides; none where its limit is no amount."""
    if not _AMOUNT.fullmatch(str(quota.get("limit", ""))):
        return
    told = {"resource": quota["resource"], "limit": quota["limit"], "unit": quota["unit"]}
    if _AMOUNT.fullmatch(str(quota.get("used", ""))):
        told["used"] = quota["used"]
    if until is not None:
        told["exhaustedUntil"] = until.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    # What an Observe policy would have done, is its own doing, though others have a part in the limit.
    several = quota.get("deciding", 1) if quota.get("enforcement") in ("Deny", "Warn") else 1
    for name in quota["policies"][:several] if several > 1 else [_policy(quota)]:
        yield {"policy": name, "uid": uids.get(name, ""), **told}


def _fitting(said: Json) -> str:
    """As compact JSON of no more bytes than the operator takes: of one too large the words, then policies, are cut."""
    while True:
        text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) <= _DECISION_BYTES or not (said.get("reason") or said.get("quotas")):
            return text
        name = "reason" if len(said.get("reason", "")) > 200 or not said.get("quotas") else "quotas"
        said = {**said, name: said[name][: len(said[name]) // 2]}


def _storable(text: str, most: "int | None" = None) -> str:
    """A text as a database and a JSON parser take it: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:most]


def _bytes_of(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")


@dataclass
class Teller:
    """Writes Events one after the other. Of more than can wait, the oldest are dropped and counted."""

    send: Callable[[Json], Any]
    log: Any
    metrics: Metrics
    most: int = 1000
    _waiting: "deque[Json]" = field(default_factory=deque)
    _task: "asyncio.Task[None] | None" = None

    def __post_init__(self) -> None:
        self._complaints = Complaints(self.log, "the operator cannot be told of decisions")

    def tell(self, event: Json) -> None:
        """Have it written when there is time."""
        self._wait(event)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._run())

    def _wait(self, event: Json, first: bool = False) -> None:
        if len(self._waiting) >= self.most:
            self.metrics.dropped.inc()
            if first:
                return  # it is the oldest
            self._waiting.popleft()
        (self._waiting.appendleft if first else self._waiting.append)(event)

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while self._waiting:
            event = self._waiting.popleft()
            try:
                await self.send(event)
            except Unanswered as fault:
                self._complaints.of(fault)
                if not fault.waited and fault.cause != "forbidden":  # rights may come, and tokens are renewed
                    self.metrics.dropped.inc()  # the same again would be answered the same
                    continue
                self._wait(event, first=True)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except Exception as fault:
                self._complaints.of(_unexpected(fault))
                self.metrics.dropped.inc()
            else:
                pause = _FIRST_PAUSE
                self._complaints.none()
                self.metrics.events.inc()


# --- The hub's own ways: a refusal, annotations of the pod, the progress of a launch ---


def _refuse(
    spawner: Any,
    text: str,
    page: str,
    reason: str,
    status: int = 403,
    again: "int | None" = None,
) -> NoReturn:
    """Raise the refusal so that every page and answer shows it, and the hub never counts it as its own failure."""
    if SpawnException is not None:
        exc = SpawnException(text, reason=reason, message_html=page, status_code=status)
    else:
        exc = HTTPError(status, text)
        _uncount(spawner)
    exc.jupyterhub_message, exc.jupyterhub_html_message = text, page
    if again is not None:
        exc.headers = {"Retry-After": str(again)}
    raise exc


def _uncount(spawner: Any) -> None:
    """Have JupyterHub 5 not count the failure that comes: after five in a row it ends itself, whatever they are.

    It counts when the launch has ended. A launch that succeeds before that sets the count to 0, so what is taken off
    beforehand may be lost: it is taken off right after it was put on, and meanwhile has no consequence.
    """
    launching, limit = getattr(spawner, "_spawn_future", None), getattr(spawner, "consecutive_failure_limit", 0)
    if spawner.handler is None:
        return
    settings = spawner.handler.settings

    def counted(_: object) -> None:
        settings["failure_count"] = settings.get("failure_count", 0) - 1
        spawner.consecutive_failure_limit = limit

    if launching is None or launching.done():
        counted(None)
    else:
        spawner.consecutive_failure_limit = 0
        launching.add_done_callback(counted)


def _annotations(launch: Launch, groups: Sequence[str], hub: str, primehub: bool, spawner: Any) -> dict[str, str]:
    chosen = launch.group
    made = {
        f"{_OURS}hub": hub,
        f"{_OURS}groups": json.dumps(list(groups), ensure_ascii=False),
        f"{_OURS}component": "notebook",
        f"{_OURS}component-name": spawner.pod_name,
        f"{_OURS}instance-type": launch.profile,
    }
    if chosen:
        made[f"{_OURS}group"] = chosen
    if primehub:
        told = {"component": "notebook", "component_name": spawner.pod_name, "group": chosen, "user": launch.user}
        made["primehub.io/usage"] = json.dumps({**told, "instance_type": launch.profile})
    return made


def _annotate(spawner: Any, annotations: Mapping[str, str]) -> None:
    """Put annotations on the pod in modify_pod_hook: extra_annotations would take braces in names for templates."""
    spawner.modify_pod_hook = _annotating(spawner.modify_pod_hook, annotations)
    if hasattr(spawner, "observe"):
        # KubeSpawner applies the profile again when it starts, and a profile may have a hook of its own.
        spawner.observe(lambda change: _annotate_again(spawner, change["new"], annotations), "modify_pod_hook")


def _annotate_again(spawner: Any, chosen: "Hook | None", annotations: Mapping[str, str]) -> None:
    if not hasattr(chosen, "hubquota_earlier"):
        spawner.modify_pod_hook = _annotating(chosen, annotations)


def _annotating(hook: "Hook | None", annotations: Mapping[str, str]) -> Hook:
    """A modify_pod_hook that runs the one that is there, and annotates what that gives."""
    earlier = _without_us(hook)

    async def modify(chosen: Any, pod: Any) -> Any:
        if earlier is not None:
            pod = await _awaited(earlier(chosen, pod))
        if isinstance(pod, dict):  # KubeSpawner takes one too
            meta = pod.setdefault("metadata", {})
            meta["annotations"] = {**(meta.get("annotations") or {}), **annotations}
        elif pod is not None:  # what is no pod is KubeSpawner's to complain of
            pod.metadata.annotations = {**(pod.metadata.annotations or {}), **annotations}
        return pod

    modify.hubquota_earlier = earlier  # type: ignore[attr-defined]
    return modify


#: Seconds between looks at whether KubeSpawner has begun to start.
_LOOK_SECONDS = 0.5


def _show(spawner: Any, text: str, page: str) -> None:
    """Give the spawn's progress its first message; an empty text shows nothing."""
    message = _message_of(spawner)
    if not message.done():
        message.set_result({"progress": 1, "message": text, "html_message": page} if text else None)


def _message_of(spawner: Any) -> "asyncio.Future[Json | None]":
    """What the hook has to say of this launch, once it knows."""
    if getattr(spawner, "hubquota_message", None) is None:
        spawner.hubquota_message = asyncio.get_running_loop().create_future()
    found: asyncio.Future[Json | None] = spawner.hubquota_message
    return found


def _tell_in_progress(seconds: float) -> None:
    """Have KubeSpawner's progress begin with the hook's message.

    The page asks for the progress before the hook has its answer, so it is the class that is wrapped, once: what the
    hook sets on a spawner comes too late. KubeSpawner's own begins only then, for up to its start it tells the events
    of the pod before.
    """
    plain = getattr(KubeSpawner.progress, "hubquota_plain", KubeSpawner.progress)

    async def progress(self: Any) -> AsyncIterator[Json]:
        message = await _message_within(self, seconds)
        if message is not None:
            yield message
        async for event in plain(self):
            yield event

    progress.hubquota_plain = plain  # type: ignore[attr-defined]
    KubeSpawner.progress = progress


async def _message_within(spawner: Any, seconds: float) -> "Json | None":
    """The message, None: there is none, so many seconds after the start. A hook before ours may take what it takes."""
    message, ends = _message_of(spawner), math.inf
    now = asyncio.get_running_loop().time
    while not message.done() and now() < ends:
        if getattr(spawner, "_start_future", None) is not None:
            ends = min(ends, now() + seconds)
        await asyncio.wait({message}, timeout=min(_LOOK_SECONDS, ends - now()))
    return message.result() if message.done() else None


# --- The hook itself ---

_RETRY_SPREAD = 61


@dataclass
class Asked:
    """What was read for a launch. ``declares``: the operator has to be told of the user; ``waits``: and to answer."""

    known: "Json | None"
    shared: Shared
    groups: Sequence[str]
    declares: bool = False
    waits: bool = False

    @property
    def now(self) -> datetime:
        """The API server's clock."""
        return self.shared.now


class Gate:
    """Stands before every launch. ``earlier``: the hook that was configured before, which runs first."""

    def __init__(self, options: HubQuota, earlier: "Hook | None") -> None:
        self.earlier = earlier
        self._options = options
        self._metrics = Metrics(REGISTRY)
        self._reader: Reader | None = None
        self._teller: Teller | None = None
        self._herald: Herald | None = None
        self._answers: Answers | None = None
        self._turns = Turns()
        #: Of what the API server tells, of what it takes, and of the operator's answers: one may be there without the
        #: others.
        self._reading, self._telling, self._answering = Breaker(), Breaker(), Breaker()
        self._later: set[asyncio.Future[None]] = set()
        self._unknown: set[str] = set()

    async def pre_spawn(self, spawner: Any) -> None:
        """Let the launch go on, or raise the refusal. Exceptions of an earlier hook pass unchanged."""
        earlier = self.earlier or _hook_of_the_class(spawner)
        if earlier is not None:
            await _awaited(earlier(spawner))
        try:
            await self._judged(spawner)
        except HTTPError:
            raise  # a refusal, or what a callable of the admin's has to say
        except Exception as fault:
            _show(spawner, "", "")
            await self._unjudged(spawner, fault)

    async def _unjudged(self, spawner: Any, fault: Exception) -> None:
        """Not even what is launched is known: where it goes on, its pod tells at least which groups are charged."""
        launch = Launch(spawner.user.name, spawner.name or "", "", {})
        decision = self._fail(spawner, launch, fault)
        try:
            await self._mark(spawner, launch, await names_of(spawner.user.groups), [decision])
        except Exception as another:
            spawner.log.warning("hubquota: the pod of %r gets no annotations: %s", launch.user, _unexpected(another))

    async def _judged(self, spawner: Any) -> None:
        await self._turns.mine()
        try:
            launch = await self._launch(spawner)
        except Unusable as fault:
            self._refuse_options(spawner, fault)
        groups = await names_of(spawner.user.groups)
        if launch.group and launch.group not in groups:
            self._refuse_foreign(spawner, launch)
        answer, decisions = await self._decided(spawner, launch, groups)
        await self._mark(spawner, launch, groups, decisions)
        if answer is not None and answer.first:
            self._later.add(task := asyncio.ensure_future(self._tell_later(spawner, launch, answer)))
            task.add_done_callback(self._later.discard)
        else:
            _show(spawner, *(progress_message(answer.verdict, launch, answer.now) if answer else ("", "")))

    async def _mark(self, spawner: Any, launch: Launch, groups: Sequence[str], decisions: "Sequence[Decision]") -> None:
        """Have the pod annotated with what it is charged by, and the decision that let it through."""
        kept = await self._kept(spawner, launch, groups)
        made = _annotations(launch, kept, self._namespace(spawner), self._options.primehub_annotation, spawner)
        if decisions:
            made[f"{_OURS}decision"] = decisions[0].id
        _annotate(spawner, made)

    async def _decided(
        self, spawner: Any, launch: Launch, groups: Sequence[str]
    ) -> "tuple[Answer | None, list[Decision]]":
        """The operator's word, None: there is none; and what is told of a launch that goes on. Raises the refusal."""
        try:
            with self._metrics.seconds.time():
                answer = await self._ask(spawner, launch, groups)
        except Exception as fault:
            return None, [self._fail(spawner, launch, fault)]
        self._mark_unknown(spawner, answer.verdict)
        if answer.verdict.refusing:
            self._refuse_by(spawner, launch, answer)
        self._metrics.allowed.inc()
        return answer, self._tell_of(spawner, launch, answer, "warned", "observed")

    async def _tell_later(self, spawner: Any, launch: Launch, first: Answer) -> None:
        """A first launch does not wait for the operator, but its page tells what is left as soon as that is known."""
        text, page = "", ""
        try:
            answer = await asyncio.wait_for(
                self._later_answer(spawner, launch, first), self._options.first_launch_timeout
            )
            text, page = progress_message(answer.verdict, launch, answer.now)
        except Exception as fault:
            spawner.log.debug("hubquota: nothing to tell %r while the server starts: %s", launch.user, fault)
        finally:
            _show(spawner, text, page)

    async def _later_answer(self, spawner: Any, launch: Launch, first: Answer) -> Answer:
        reader = self._reader_for(spawner)
        answers = self._answers_of(reader)
        with answers.expecting(launch.user) as one:
            told = await first.told if first.told is not None else None
            if told is None:
                raise Unanswered("the operator could not be told of the user", "internal")
            known, now = await answers.answer(one, launch, *told)
        return _answer(known, Shared(await self._policies(reader, known), None, now, self._ahead), launch)

    @property
    def _ahead(self) -> timedelta:
        return timedelta(seconds=self._options.max_staleness)

    async def _launch(self, spawner: Any) -> Launch:
        """What this launch asks for. Raises Unusable."""
        await apply_profile(spawner)
        chosen, profile = await self._chosen_group(spawner), await profile_of(spawner)
        try:
            return Launch(spawner.user.name, spawner.name or "", profile, requested(spawner), chosen)
        except ValueError as fault:  # no pod could be made of it
            raise Unusable(str(fault)) from fault

    async def _chosen_group(self, spawner: Any) -> str:
        """The group that it is launched for; empty: none was chosen. Raises Unusable where it is no name."""
        option = self._options.launch_group
        if callable(option):
            try:
                return str(await _awaited(option(spawner)) or "")
            except _BY_DATA as fault:
                raise Unusable("they name no group that the server could be started for") from fault
        chosen = _user_options(spawner).get(option) if option else None
        if chosen and not isinstance(chosen, str):
            raise Unusable(f"{_short(option)} is not the name of a group")
        return chosen or ""

    async def _kept(self, spawner: Any, launch: Launch, groups: Sequence[str]) -> list[str]:
        """The names of the groups that are told, by what is known of the policies now."""
        kept = await self._chosen_of(groups)
        if len(kept) < len(groups):
            spawner.log.warning(
                "hubquota: user=%r is in %d groups, %d are left out; those that policies name are kept first",
                launch.user,
                len(groups),
                len(groups) - len(kept),
            )
        return kept

    async def _chosen_of(self, groups: Sequence[str]) -> list[str]:
        return await kept_groups(groups, self._reader.named_groups if self._reader else frozenset())

    def _namespace(self, spawner: Any) -> str:
        """The hub's, as it is configured: a spawner's may be its user's own, a profile's or an earlier hook's."""
        if self._options.namespace:
            return str(self._options.namespace)
        named = [spawner.config[name] for name in type(spawner).section_names() if name in spawner.config]
        configured = [section["namespace"] for section in named if "namespace" in section]
        own = getattr(spawner, "enable_user_namespaces", False)
        return str(configured[-1] if configured and not own else spawner._namespace_default())

    def _reader_for(self, spawner: Any) -> Reader:
        if self._reader is None:
            self._reader = Reader(self._namespace(spawner), self._options.timeout)
        return self._reader

    def _answers_of(self, reader: Reader) -> Answers:
        if self._answers is None:
            self._answers = Answers(reader, 2 * self._options.first_launch_timeout)
        return self._answers

    async def _ask(self, spawner: Any, launch: Launch, groups: Sequence[str]) -> Answer:
        """The operator's word. Raises Unanswered."""
        reader = self._reader_for(spawner)
        ends = asyncio.get_running_loop().time() + self._options.timeout
        with _readable(launch):
            asked = await self._in_time(lambda: self._asked(reader, launch, groups), ends)
            if asked.waits:
                known, shared = await self._answered(spawner, reader, launch, asked, ends)
                return _concluded(known, shared, launch)
            if asked.known is None or not _has_status(asked.known):
                return self._first(spawner, reader, launch, asked)
            return _concluded(asked.known, asked.shared, launch)

    async def _in_time(self, call: "Callable[[], Awaitable[T]]", ends: float) -> T:
        """What is asked of the API server, until the decision's deadline. Raises Unanswered."""
        with self._reading.guard():
            try:
                return await asyncio.wait_for(call(), ends - asyncio.get_running_loop().time())
            except asyncio.TimeoutError:  # noqa: UP041 - Python 3.10
                raise _too_slow(self._options.timeout) from None

    def _first(self, spawner: Any, reader: Reader, launch: Launch, asked: Asked) -> Answer:
        """No usage, and nothing that refuses without usage: the operator is told behind the launch, not waited for."""
        if self._herald is None:
            self._herald = Herald(reader, spawner.log, self._metrics)
        if asked.declares or asked.known is None:
            told = self._herald.tell(launch.user, asked.groups, asked.known)
        else:  # another launch has told it
            told = asyncio.get_running_loop().create_future()
            told.set_result((asked.known, asked.now))
        return Answer(Verdict(), (), asked.now, first=True, told=told)

    async def _asked(self, reader: Reader, launch: Launch, groups: Sequence[str]) -> Asked:
        """The user's UserQuota, and of what all share as much as this launch needs."""
        reader.beat.begin()
        with reader.beginning():
            known, now = await reader.user_quota(launch.user)
        kept = await self._chosen_of(groups)
        if len(kept) < len(groups):  # which are kept hangs on the policies
            await reader.policies.within(_POLICIES_SECONDS)
            kept = await self._chosen_of(groups)
        settled = known is not None and _is_settled(known, kept)
        shared = await self._shared(reader, known, settled, now)
        _own(known, launch)
        if settled:
            return Asked(known, shared, kept)
        # One that is ignored may be mended by writing its spec anew. One that needs no telling another launch has told
        # a moment ago, and both wait for the same answer.
        declares = known is None or _is_ignored(known) or not _is_told(known, kept)
        waits = _has_status(known) or any(_matters(p, launch.user, kept) for p in shared.policies.values())
        return Asked(known, shared, kept, declares, waits)

    async def _shared(self, reader: Reader, known: "Json | None", settled: bool, now: datetime) -> Shared:
        """What all launches share. Raises Unanswered where the operator's word does not count, or the hub is full."""
        policies: Mapping[str, Json] = {}
        if known is None or not settled or _leans_on_policies(known):
            policies = await self._policies(reader, known)
        beat = await self._believed(reader, now, _AGAIN_SECONDS if known is None else _HEARTBEAT_SECONDS)
        if known is None and beat.at_cap:
            raise Unanswered(
                f"the hub is at its cap of {beat.at_cap} UserQuotas, so this user gets none: delete the UserQuotas "
                "of users who are gone, or raise the operator's max_user_quotas",
                "cap",
            )
        # Who comes at the very second that was told is let through, whichever answer told the time.
        return Shared(policies, beat.renewed, max(now, beat.read), self._ahead)

    async def _policies(self, reader: Reader, known: "Json | None") -> Mapping[str, Json]:
        """All policies; read anew where a pool that is named is not among them, or not told of, for it may be new."""
        policies = await reader.policies.within(_POLICIES_SECONDS)
        if not policies.keys() >= set(_pool_names(known)):
            policies = await reader.policies.within(_AGAIN_SECONDS)
        if known is not None and _untold(known, policies):
            policies = await reader.policies.within(0)  # else the launch would have no answer
        return policies

    async def _believed(self, reader: Reader, now: datetime, seconds: float) -> Beat:
        """The heartbeat, read within so many seconds; one that looks too old is read anew. Raises Unanswered."""
        most = self._options.max_staleness
        beat = await reader.beat.within(seconds)
        if _doubt(beat, now, most) is not None:
            beat = await reader.beat.within(_AGAIN_SECONDS)
        fault = _doubt(beat, max(now, beat.read), most)
        if fault is not None:
            raise fault
        return beat

    async def _answered(
        self, spawner: Any, reader: Reader, launch: Launch, asked: Asked, ends: float
    ) -> "tuple[Json, Shared]":
        """The operator's answer to what it is told, for as long as may be waited; past that the old one holds."""
        known, ends = asked.known, ends + self._options.first_launch_timeout
        try:
            with self._answers_of(reader).expecting(launch.user) as one:
                if known is None or asked.declares:
                    told, now = await self._told(reader, launch, asked, ends)
                else:
                    told, now = known, asked.now
                with self._answering.guard():
                    return await self._waited(reader, one, launch, told, replace(asked.shared, now=now), ends)
        except Unanswered as fault:
            if known is None or not _has_status(known):
                raise
            if not _is_ignored(known):
                spawner.log.warning("hubquota: %r is judged by the groups of before: %s", launch.user, fault)
            return known, asked.shared

    async def _told(self, reader: Reader, launch: Launch, asked: Asked, ends: float) -> "tuple[Json, datetime]":
        """Tell the operator of the user. Raises Unanswered."""

        def declare() -> "Awaitable[tuple[Json, datetime]]":
            return reader.declare(launch.user, asked.groups, asked.known)

        with self._telling.guard():
            try:
                return await self._patiently(declare, ends, lambda: reader.written)
            except asyncio.TimeoutError:  # noqa: UP041 - Python 3.10
                raise _too_slow(self._options.timeout + self._options.first_launch_timeout) from None

    async def _patiently(self, call: "Callable[[], Awaitable[T]]", ends: float, others: "Callable[[], float]") -> T:
        """What a call gives until ``ends``, and for some time more while others get what they wait for.

        ``others``: when one of them did last, by the loop's clock. Raises asyncio.TimeoutError.
        """
        clock, task = asyncio.get_running_loop().time, asyncio.ensure_future(call())
        task.add_done_callback(_looked_at)
        last = ends + (_PATIENCE - 1) * self._options.first_launch_timeout
        try:
            while not (await asyncio.wait({task}, timeout=max(0.0, ends - clock())))[0]:
                if clock() >= last or others() < clock() - _DOUBT_SECONDS:
                    raise asyncio.TimeoutError  # noqa: UP041 - Python 3.10
                ends = min(last, clock() + _DOUBT_SECONDS)
            return task.result()
        finally:
            task.cancel()

    async def _waited(
        self, reader: Reader, one: Expected, launch: Launch, told: Json, shared: Shared, ends: float
    ) -> "tuple[Json, Shared]":
        """The answer, and the policies by then: pools may have been filled, or made, while it was waited for."""

        async def answered() -> "tuple[Json, Shared]":
            known, now = await self._answers_of(reader).answer(one, launch, told, shared.now)
            policies = await self._policies(reader, known)
            while _untold(known, policies):  # the operator writes of a new pool and of its users one after the other
                await asyncio.sleep(_POLL_SECONDS)
                policies = await reader.policies.within(0)
            return known, replace(shared, policies=policies, now=now)

        now, most = asyncio.get_running_loop().time(), self._options.first_launch_timeout
        # Who was told late, behind many others, has some time all the same.
        ends = max(min(ends, now + most), now + min(most, _DOUBT_SECONDS))
        try:
            return await self._patiently(answered, ends, lambda: self._answers_of(reader).answered)
        except asyncio.TimeoutError:  # noqa: UP041 - Python 3.10
            raise Unanswered(
                f"the operator has not answered for {launch.user!r} in {self._options.first_launch_timeout:g} s: see "
                "its log, and whether it is overloaded",
                "unanswered",
                waited=True,
            ) from None

    def _mark_unknown(self, spawner: Any, verdict: Verdict) -> None:
        """Say once of each what this hook does not know, and takes for Observe."""
        for word in {str(q.get("enforcement")) for q in verdict.observed} - {"Observe"} - self._unknown:
            self._unknown.add(word)
            spawner.log.warning(
                "hubquota: enforcement %s is not known here and taken for Observe: bring the hook to the operator's "
                "version",
                _short(word),
            )

    def _refuse_by(self, spawner: Any, launch: Launch, answer: Answer) -> NoReturn:
        again = None
        if answer.verdict.until is not None:
            spread = int(hashlib.sha256(_storable(launch.user).encode()).hexdigest(), 16) % _RETRY_SPREAD
            again = math.ceil((answer.verdict.until - answer.now).total_seconds()) + spread
        names = ",".join(map(_policy, answer.verdict.refusing))
        spawner.log.info("hubquota refuses user=%r server=%r policies=%s", launch.user, launch.server, names)
        text, page = self._said(spawner, refusal(answer.verdict, answer.running, answer.now, launch))
        self._tell_of(spawner, launch, answer, "refused", "observed", reason=text)
        self._metrics.refused.labels(EXCEEDED).inc()
        _refuse(spawner, text, page, EXCEEDED, again=again)

    def _refuse_foreign(self, spawner: Any, launch: Launch) -> NoReturn:
        """A group of somebody else's, who would be charged."""
        text = f"You are not a member of the group {_short(launch.group)!r}: choose one of your own groups."
        spawner.log.info("hubquota refuses user=%r server=%r: the group is not theirs", launch.user, launch.server)
        text, page = self._said(spawner, plain_refusal(FOREIGN, text, launch))
        self._tell(spawner, Decision("refused", launch, reason=text))
        self._metrics.refused.labels(FOREIGN).inc()
        _refuse(spawner, text, page, FOREIGN)

    def _refuse_options(self, spawner: Any, fault: Unusable) -> NoReturn:
        """Options that KubeSpawner cannot start: nothing of a quota's, so nothing is told of it."""
        cause, user = fault.__cause__ or fault, spawner.user.name
        spawner.log.info("hubquota refuses user=%r server=%r: %s", user, spawner.name, _short(repr(cause), 500))
        launch = Launch(user, spawner.name or "", "", {})
        text = f"The chosen server options cannot be used: {str(fault).rstrip('.')}. Please choose them anew."
        text, page = self._said(spawner, plain_refusal(UNUSABLE, text, launch))
        self._metrics.refused.labels(UNUSABLE).inc()
        _refuse(spawner, text, page, UNUSABLE, status=400)

    def _fail(self, spawner: Any, launch: Launch, fault: Exception) -> Decision:
        """No answer: go on, or refuse, as the admin said; one line tells what to mend."""
        goes_on = self._options.failover_open
        why = fault if isinstance(fault, Unanswered) else _unexpected(fault)
        what = "goes on" if goes_on else "is refused"
        spawner.log.warning("hubquota: the launch of %r %s without an answer: %s", launch.user, what, why)
        (self._metrics.failed_open if goes_on else self._metrics.failed_closed).labels(why.cause).inc()
        if not goes_on:
            self._refuse_unread(spawner, launch)
        return self._tell(spawner, Decision("failed-open", launch, reason=str(why)))

    def _refuse_unread(self, spawner: Any, launch: Launch) -> NoReturn:
        text = "Your quota cannot be read at the moment, so no server can be started. Please try again in a minute."
        text, page = self._said(spawner, plain_refusal(FAILED, text, launch))
        self._tell(spawner, Decision("failed-closed", launch, reason=text))
        _refuse(spawner, text, page, FAILED, status=424, again=60)

    def _said(self, spawner: Any, told: Refusal) -> tuple[str, str]:
        """By the admin's templates; in our own words where these do not render what they were not tried on."""
        return rendered(self._options, told, lambda why: spawner.log.warning("hubquota: %s", why))

    def _tell_of(self, spawner: Any, launch: Launch, answer: Answer, *kinds: str, reason: str = "") -> list[Decision]:
        """Tell of an answer what there is to tell: the decisions made."""
        verdict, made = answer.verdict, []
        quotas = {"refused": verdict.refusing, "warned": verdict.warning, "observed": verdict.observed}
        for kind in kinds:
            if quotas[kind]:
                until = verdict.until if kind == "refused" else None
                said = reason if kind == "refused" else " ".join(_used_up(q) for q in quotas[kind] if kind == "warned")
                decision = Decision(kind, launch, quotas[kind], until, said)
                made.append(self._tell(spawner, decision, answer.uids))
        return made

    def _tell(self, spawner: Any, decision: Decision, uids: "Mapping[str, str] | None" = None) -> Decision:
        """Have the operator told, which no launch waits for, nor fails by."""
        try:
            reader = self._reader_for(spawner)
            decision = replace(decision, at=reader.now())
            if self._teller is None:
                self._teller = Teller(reader.tell, spawner.log, self._metrics)
            self._teller.tell(decision_event(decision, reader.namespace, uids or {}))
        except Exception as fault:
            self._metrics.dropped.inc()
            spawner.log.warning("hubquota: a decision cannot be told: %s: %s", type(fault).__name__, fault)
        return decision


def _hook_of_the_class(spawner: Any) -> "Hook | None":
    """The pre_spawn_hook that a class of spawners has by itself, where none is configured."""
    hook: Hook | None = spawner.trait_defaults("pre_spawn_hook") if hasattr(spawner, "trait_defaults") else None
    return hook


async def _awaited(result: Any) -> Any:
    """What a callable of the admin's gives, which may be a coroutine."""
    return await result if inspect.isawaitable(result) else result
