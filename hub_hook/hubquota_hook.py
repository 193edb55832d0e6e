"""The JupyterHub side of hubquota: lets a launch through or refuses it, with the reason and the time.

In ``jupyterhub_config.py``, or in z2jh's ``hub.extraConfig``, after all other settings of spawners::

    from hubquota_hook import setup_hubquota
    setup_hubquota(c)

Options are traits of ``c.HubQuota`` (z2jh: ``hub.config.HubQuota``). The file needs nothing but what a z2jh hub image
has. It reads what the operator wrote (one GET a launch) and compares times; it measures nothing. No exception of its
own but a refusal ever reaches the hub.
"""

import asyncio
import contextlib
import hashlib
import html
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from kubespawner import KubeSpawner
from kubespawner.clients import shared_client
from tornado.web import HTTPError
from traitlets import Bool, Float, TraitError, Unicode, Union, validate
from traitlets import Callable as CallableTrait
from traitlets.config import Configurable

try:
    from jupyterhub.spawner import SpawnException
except ImportError:  # JupyterHub 5
    SpawnException = None

__version__ = "0.1.0.dev0"

Json = dict[str, Any]
Hook = Callable[..., Any]

_API = "/apis/hubquota.dev/v1alpha1"
_HEARTBEAT = "hubquota-heartbeat"
_IN_FLIGHT = 8
_SHARED_SECONDS = 1.0
_POLL_SECONDS = 0.1
_AT_CAP = "hubquota.dev/at-cap"
_MOST_GROUPS = 256
_LONGEST_NAME = 255
#: All annotations of a pod may take 256 KiB together; as many bytes of JSON as the groups may take of it.
_GROUP_BYTES = 160 * 1024
#: Names of groups looked at before the hub's loop has its turn again.
_AT_A_TIME = 1000
_RETRY_SPREAD = 61
_OURS = "hubquota.dev/"
_GIB_IN = {"MiB-hours": Decimal(1024), "TiB-hours": 1 / Decimal(1024)}
_PERIODS = {"Day": "today", "Week": "this week", "Month": "this month", "Quarter": "this quarter", "Year": "this year"}
#: Now is the API server's Date header, cut to a whole second: a stretch that begins within it has begun. Ends are whole
#: seconds, so for them the cut is exact.
_TICK = timedelta(seconds=1)
_INSTANT = "%Y-%m-%d %H:%M:%S UTC"
_LINK = re.compile(r"(?:https://|mailto:)[^\s<>\"']+")
_PLAIN_NAME = re.compile(r"[a-z](?:[a-z0-9]|-(?!-)){0,51}[a-z0-9]|[a-z]")


class Unanswered(Exception):
    """The question cannot be answered now; the message says what is wrong and what to mend."""


class HubQuota(Configurable):
    """How launches are judged."""

    failover_open = Bool(
        True,
        help="Whether a launch goes on where no answer can be had (operator stopped, API away). False refuses it.",
    ).tag(config=True)
    timeout = Float(2.0, help="Seconds that a decision may take.").tag(config=True)
    max_staleness = Float(
        300.0, help="Seconds after the operator's last heartbeat at which its word no longer counts."
    ).tag(config=True)
    first_launch_timeout = Float(
        5.0, help="Seconds to wait for the operator's answer for a new user or changed groups, where it matters."
    ).tag(config=True)
    launch_group = Union(
        [Unicode(), CallableTrait()],
        default_value="",
        help="The group a server is launched for: a key of user_options, or a callable of the spawner. Empty: none.",
    ).tag(config=True)
    namespace = Unicode("", help="The namespace of the hub's quotas. Empty: where the hub runs.").tag(config=True)
    primehub_annotation = Bool(False, help="Whether pods carry PrimeHub's annotation primehub.io/usage too.").tag(
        config=True
    )

    @validate("timeout", "max_staleness", "first_launch_timeout")
    def _positive(self, proposal: Any) -> float:
        if not 0 < proposal["value"] <= 3600:
            raise TraitError(f"HubQuota.{proposal['trait'].name} must be more than 0 and at most 3600 seconds")
        return float(proposal["value"])


def setup_hubquota(c: Any) -> None:
    """Put the hook before every launch. Raises traitlets' TraitError where a trait of c.HubQuota is wrong."""
    unknown = [name for name in c.HubQuota if not HubQuota.class_traits(config=True).get(name)]
    if unknown:
        known = ", ".join(sorted(HubQuota.class_traits(config=True)))
        raise TraitError(f"c.HubQuota has no {', '.join(sorted(unknown))}: write one of {known}")
    classes = ["Spawner", "KubeSpawner"]
    chosen = c.JupyterHub.spawner_class if "spawner_class" in c.JupyterHub else "KubeSpawner"
    name = chosen.__name__ if isinstance(chosen, type) else str(chosen).rpartition(".")[2]
    if name not in ("kubespawner", *classes):
        classes.append(name)
    # The most specific class's hook is the one that would have run without us.
    earlier = [c[name].pre_spawn_hook for name in classes if name in c and "pre_spawn_hook" in c[name]]
    options = HubQuota(config=c)
    gate = Gate(options, earlier[-1] if earlier else None)
    _tell_in_progress(options.timeout + options.first_launch_timeout)
    for name in classes:
        c[name].pre_spawn_hook = gate.pre_spawn


# Judging: plain values in, plain values out.


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


@dataclass(frozen=True)
class Verdict:
    """What becomes of a launch. ``until`` None: not within what is known; ``until_if_stopped``: if all stopped now."""

    refusing: Sequence[Json] = ()
    warning: Sequence[Json] = ()
    open: Sequence[Json] = ()
    until: "datetime | None" = None
    until_if_stopped: "datetime | None" = None


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
    refusing = [q for q in hit if q["enforcement"] == "Deny"]
    shown = [q for q in touched if q["enforcement"] in ("Deny", "Warn") and q not in hit]
    # Servers at once are counted, not foreseen: one that is not full now is not full later either.
    denying = [q for q in touched if q["enforcement"] == "Deny" and ("window" in q or q in hit)]
    return Verdict(
        refusing=refusing,
        warning=[q for q in hit if q["enforcement"] == "Warn"],
        open=shown,
        until=first_open(denying, "blocked", now, [foreseen, *map(_foreseen, denying)]) if refusing else None,
        until_if_stopped=first_open(denying, "blockedIfStopped", now, [foreseen]) if refusing else None,
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
    quotas: Sequence[Json], key: str, now: datetime, foreseen: "Sequence[datetime | None]" = ()
) -> "datetime | None":
    """The first instant at which none of them is used up; None: not within what is known, or ``foreseen``."""
    at, end = now, min((moment for moment in foreseen if moment is not None), default=None)
    while end is None or at < end or at == now:
        ends = [
            end for q in quotas for start, end in stretches(q, key) if start < at + _TICK and (end is None or at < end)
        ]
        if not ends:
            return at
        if any(end is None for end in ends):
            return None
        at = max(until for until in ends if until is not None)
    return None


def _foreseen(quota: Json) -> "datetime | None":
    return instant(quota["foreseenUntil"]) if "foreseenUntil" in quota else None


def stretches(quota: Json, key: str) -> "Iterator[tuple[datetime, datetime | None]]":
    """The stretches ahead in which a quota is used up."""
    for block in quota.get(key, ()):
        yield instant(block["from"]), instant(block["until"]) if "until" in block else None


def lasts_until(quota: Json, launch: Launch, now: datetime) -> "datetime | None":
    """When the quota is used up with this server running too; None: not within its window. Never too late."""
    vertices = [(instant(v["at"]), Decimal(v["used"])) for v in quota.get("forecast", ())]
    if not vertices:
        return None
    limit, rate, since = Decimal(quota["limit"]), per_hour(quota, launch), now
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


def user_quota_name(user: str) -> str:
    """The name of a user's UserQuota: the operator's function, word for word."""
    if _PLAIN_NAME.fullmatch(user):
        return user
    digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    slug = re.sub(r"[^a-z0-9]+", "-", user.lower()).strip("-")[:40].strip("-")
    return f"u-{slug}--{digest}" if slug[:1].isdigit() else f"{slug or 'u'}--{digest}"


# Words for people: the plain text is complete by itself, the HTML says the same.


def refusal(verdict: Verdict, running: Sequence[Json], now: datetime) -> tuple[str, str]:
    """Why a launch is refused, when it will work again, and what would help sooner: as text and as HTML."""
    parts = [_used_up(quota) for quota in verdict.refusing]
    parts.append(_again(verdict, running, now))
    parts += dict.fromkeys(q["message"] for q in verdict.refusing if q.get("message"))
    return " ".join(parts), " ".join(f"<p>{_as_html(part)}</p>" for part in parts)


def progress_message(verdict: Verdict, launch: Launch, now: datetime) -> tuple[str, str]:
    """What is left while a server starts, and how long it lasts with it; stronger words near the end."""
    parts = [f"Warning: {_used_up(quota)}" for quota in verdict.warning]
    parts += [_left(quota, launch, now) for quota in verdict.open if quota.get("window")]
    return " ".join(parts), "<br>".join(_as_html(part) for part in parts)


def _used_up(quota: Json) -> str:
    what = f"{number(quota['used'])} of {number(quota['limit'])} {quota['unit']}"
    of = "" if quota["unit"] == quota["resource"] else f" of {quota['resource']}"
    return f"Your quota is used up: {what}{of}{_over(quota)} (policy {quota.get('name') or quota['policies'][0]})."


def _again(verdict: Verdict, running: Sequence[Json], now: datetime) -> str:
    servers = ", ".join(dict.fromkeys(f"“{pod.get('server') or 'default'}”" for pod in running))
    sooner = verdict.until_if_stopped
    if verdict.until is not None:
        text = f"It will work again at {_moment(verdict.until, now)}."
        if sooner is not None and sooner < verdict.until and servers:
            text += f" If you stop your running servers ({servers}) now, it will work from {_moment(sooner, now)}."
        return text
    if sooner is not None and servers:
        from_when = "at once" if sooner <= now else f"from {_moment(sooner, now)}"
        return f"It stays so as long as your servers ({servers}) run: if you stop them, it will work {from_when}."
    if any(Decimal(q["limit"]) == 0 for q in verdict.refusing):
        return "The limit is 0, so no such server can be started."
    if any(q["resource"] == "storage" for q in verdict.refusing):
        small = ", ".join(sorted({name for q in verdict.refusing for name in q.get("exceptProfiles", ())}))
        return f"It will work again when you have deleted files; these profiles still start: {small or 'none'}."
    return "It cannot be told yet when it will work again."


def _left(quota: Json, launch: Launch, now: datetime) -> str:
    limit, used = Decimal(quota["limit"]), Decimal(quota["used"])
    near = used * 100 >= limit * quota.get("warnAt", 90)
    left = f"{number(str(limit - used))} of {number(quota['limit'])} {quota['unit']}"
    text = f"{'Nearly used up: only ' if near else ''}{left} left{_over(quota)}"
    end = lasts_until(quota, launch, now)
    if end is None:
        return f"{text}."
    return f"{text}; with this server it lasts {duration(end - now)}, until {end.strftime(_INSTANT)}."


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


def _moment(at: datetime, now: datetime) -> str:
    at = at.astimezone(timezone.utc)
    return f"{at.strftime(_INSTANT)} (in {duration(at - now)})"


def spelled(window: str) -> str:
    """``7d`` as ``7 days``."""
    names = {"d": "day", "h": "hour", "m": "minute"}
    parts = re.findall(r"([0-9]+)([dhm])", window)
    return " ".join(f"{n} {names[u]}{'' if n == '1' else 's'}" for n, u in parts) or window


def duration(span: timedelta) -> str:
    """``3 h 20 min``: the two largest units, rounded up, so that nobody comes too early."""
    seconds = max(0, int(Decimal(span.total_seconds()).to_integral_value(ROUND_CEILING)))
    if seconds < 60:
        return f"{seconds} s"
    minutes = -(-seconds // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [(days, "d"), (hours, "h"), (minutes, "min")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{n} {unit}" for n, unit in parts[:2] if n)


def number(amount: str) -> str:
    """An amount as people read it: cut, never rounded up to a limit that is not reached."""
    value = Decimal(amount)
    places = 1 if value >= 1 else 2 if value * 10 >= 1 else 6  # small amounts get digits enough to be seen
    text = f"{value.quantize(Decimal(1).scaleb(-places), ROUND_FLOOR):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _as_html(text: str) -> str:
    """Escaped; instants as ``<time>``, https and mailto links to click."""
    safe = html.escape(text)
    safe = re.sub(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC", r'<time datetime="\1T\2Z">\1 \2 UTC</time>', safe)
    return _LINK.sub(lambda m: f'<a href="{m[0]}" rel="noopener">{m[0]}</a>', safe)


# Reading: raw JSON, a few at a time, shared where all launches ask the same.


@dataclass
class Shared:
    """What is the same for everybody within a second: policies by name, and the age of the heartbeat."""

    policies: Mapping[str, Json]
    heartbeat: "datetime | None"
    now: datetime
    at_cap: str = ""
    """As many UserQuotas as the hub may have are there: this many. Empty: there are fewer."""


@dataclass
class Reader:
    """The API server through the client that KubeSpawner has."""

    namespace: str
    timeout: float
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_IN_FLIGHT))
    named_groups: frozenset[str] = frozenset()
    """Groups that policies named when they were last read."""
    _shared: "asyncio.Task[Shared] | None" = None
    _shared_at: float = 0.0

    async def user_quota(self, user: str) -> "Json | None":
        """A user's UserQuota; None: there is none. Raises Unanswered."""
        path = f"{_API}/namespaces/{self.namespace}/userquotas/{user_quota_name(user)}"
        status, body, _ = await self._call("GET", path, query=[("resourceVersion", "0")])
        if status == 404:
            return None
        return _checked(status, body, path)

    async def declare(self, user: str, groups: Sequence[str], known: "Json | None") -> Json:
        """Say in the UserQuota who the user is and what groups they are in. Raises Unanswered."""
        spec = {"user": user, "groups": list(groups), "groupsObservedAt": _now().strftime("%Y-%m-%dT%H:%M:%SZ")}
        path = f"{_API}/namespaces/{self.namespace}/userquotas"
        if known is None:
            body: Json = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota"}
            body |= {"metadata": {"name": user_quota_name(user)}, "spec": spec}
            status, told, _ = await self._call("POST", path, body=body)
            if status != 409:
                return _checked(status, told, path)
        path = f"{path}/{user_quota_name(user)}"
        status, told, _ = await self._call("PATCH", path, body={"spec": spec})
        return _checked(status, told, path)

    async def shared(self) -> Shared:
        """The policies and the heartbeat, asked for once for all who ask within a second. Raises Unanswered."""
        now = asyncio.get_running_loop().time()
        if self._shared is None or now - self._shared_at > _SHARED_SECONDS:
            self._shared, self._shared_at = asyncio.ensure_future(self._fetch()), now
        # One who gives up must not take the answer from the others.
        return await asyncio.shield(self._shared)

    async def _fetch(self) -> Shared:
        path = f"{_API}/namespaces/{self.namespace}/quotapolicies"
        lease = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/{_HEARTBEAT}"
        (code, listed, _), (found, beat, date) = await asyncio.gather(
            self._call("GET", path, query=[("resourceVersion", "0")]), self._call("GET", lease)
        )
        policies = {item["metadata"]["name"]: item for item in _checked(code, listed, path)["items"]}
        self.named_groups = frozenset(name for policy in policies.values() for name in _groups_of(policy))
        if found == 404:
            return Shared(policies, None, date)
        at_cap = (_checked(found, beat, lease)["metadata"].get("annotations") or {}).get(_AT_CAP, "")
        return Shared(policies, instant(beat["spec"]["renewTime"]), date, at_cap)

    async def _call(
        self, method: str, path: str, query: Sequence[tuple[str, str]] = (), body: "Json | None" = None
    ) -> tuple[int, Json, datetime]:
        headers = {"Accept": "application/json"}
        if body is not None:
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            headers["Content-Type"] = kind
        client = shared_client("CustomObjectsApi").api_client
        async with self._slots:
            answer = await client.call_api(
                path,
                method,
                query_params=list(query),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=self.timeout,
            )
            text = await answer.read()
        date = answer.headers.get("Date")
        return answer.status, json.loads(text), parsedate_to_datetime(date) if date else _now()


def _checked(status: int, body: Json, path: str) -> Json:
    if status == 403:
        raise Unanswered(f"the hub's service account may not read {path}: apply hubquota's Role for the hub")
    if status == 404:
        raise Unanswered(f"{path} is not there: apply hubquota's CRDs")
    if status >= 400:
        raise Unanswered(f"{path}: {status} {body.get('message', '')}")
    return body


def _now() -> datetime:
    return datetime.now(timezone.utc)


# The hook itself.


@dataclass
class Answer:
    """What the operator says for a launch."""

    verdict: Verdict
    running: Sequence[Json]
    now: datetime
    first: bool = False
    """The operator has not spoken of this user yet."""


class Gate:
    """Stands before every launch. ``earlier``: the hook that was configured before, which runs first."""

    def __init__(self, options: HubQuota, earlier: "Hook | None") -> None:
        self._options = options
        self._earlier = earlier
        self._reader: Reader | None = None
        self._later: set[asyncio.Future[None]] = set()

    async def pre_spawn(self, spawner: Any) -> None:
        """Let the launch go on, or raise the refusal. Exceptions of an earlier hook pass unchanged."""
        if self._earlier is not None:
            result = self._earlier(spawner)
            if asyncio.iscoroutine(result) or asyncio.isfuture(result):
                await result
        try:
            launch = await self._launch(spawner)
            groups = await names_of(spawner.user.groups)
            chosen = launch.group
            if chosen and chosen not in groups:
                text = f"You are not a member of the group {chosen!r}: choose one of your own groups."
                _refuse(spawner, text, html.escape(text), "compute-quota-exceeded")
            answer = await self._answer(spawner, launch, groups)
            kept = await self._kept(groups)
            if len(kept) < len(groups):
                spawner.log.warning(
                    "hubquota: user=%r is in %d groups, %d are left out; those that policies name are kept first",
                    launch.user,
                    len(groups),
                    len(groups) - len(kept),
                )
            _annotate(spawner, _annotations(launch, kept, chosen, self._options.primehub_annotation, spawner))
            if answer is not None and answer.verdict.refusing:
                self._refuse_by(spawner, launch, answer)
            if answer is not None and answer.first:
                self._later.add(task := asyncio.ensure_future(self._tell_later(spawner, launch)))
                task.add_done_callback(self._later.discard)
            else:
                _show(spawner, *(progress_message(answer.verdict, launch, answer.now) if answer else ("", "")))
        except HTTPError:
            raise
        except Exception as fault:
            if SpawnException is not None and isinstance(fault, SpawnException):
                raise
            _show(spawner, "", "")
            self._fail(spawner, f"{type(fault).__name__}: {fault}")

    async def _tell_later(self, spawner: Any, launch: Launch) -> None:
        """A first launch does not wait for the operator, but its page tells what is left as soon as that is known."""
        text, page = "", ""
        try:
            answer = await asyncio.wait_for(self._first_answer(launch), self._options.first_launch_timeout)
            text, page = progress_message(answer.verdict, launch, answer.now)
        except Exception as fault:
            spawner.log.debug("hubquota: nothing to tell %r while the server starts: %s", launch.user, fault)
        finally:
            _show(spawner, text, page)

    async def _first_answer(self, launch: Launch) -> Answer:
        reader = self._reader
        while reader is not None:
            known = await reader.user_quota(launch.user)
            if known and "status" in known:
                return _answer(known, await reader.shared(), launch)
            await asyncio.sleep(_POLL_SECONDS)
        raise Unanswered("there is no reader yet")

    async def _launch(self, spawner: Any) -> Launch:
        """What this launch asks for, with its profile, which KubeSpawner applies only after this hook."""
        if hasattr(spawner, "load_user_options"):
            await spawner.load_user_options()
        profile = (spawner.user_options or {}).get("profile") or ""
        chosen = self._chosen_group(spawner)
        return Launch(spawner.user.name, spawner.name or "", str(profile), requested(spawner), chosen)

    def _chosen_group(self, spawner: Any) -> str:
        option = self._options.launch_group
        if callable(option):
            return str(option(spawner) or "")
        return str((spawner.user_options or {}).get(option) or "") if option else ""

    async def _kept(self, groups: Sequence[str]) -> list[str]:
        """The names of the groups that are told, by what is known of the policies now."""
        return await kept_groups(groups, self._reader.named_groups if self._reader else frozenset())

    async def _answer(self, spawner: Any, launch: Launch, groups: Sequence[str]) -> "Answer | None":
        """The operator's word; None: there is none, and the launch goes on."""
        try:
            waits = self._options.first_launch_timeout
            return await asyncio.wait_for(self._ask(spawner, launch, groups), self._options.timeout + waits)
        except Exception as fault:
            self._fail(spawner, str(fault) or type(fault).__name__)
            return None

    async def _ask(self, spawner: Any, launch: Launch, groups: Sequence[str]) -> Answer:
        if self._reader is None:
            self._reader = Reader(self._options.namespace or spawner.namespace, self._options.timeout)
        reader = self._reader
        known, shared = await asyncio.wait_for(
            asyncio.gather(reader.user_quota(launch.user), reader.shared()), self._options.timeout
        )
        if shared.heartbeat is None or (shared.now - shared.heartbeat).total_seconds() > self._options.max_staleness:
            raise Unanswered("the operator's heartbeat is too old or missing: see whether hubquota's operator runs")
        _own(known, launch)
        if known is None and shared.at_cap:
            raise Unanswered(
                f"the hub is at its cap of {shared.at_cap} UserQuotas, so this user gets none: delete the UserQuotas "
                "of users who are gone, or raise the operator's max_user_quotas"
            )
        kept = await self._kept(groups)
        # One that is ignored may be mended by writing its spec anew.
        if known is None or _is_ignored(known) or sorted(known["spec"].get("groups", ())) != kept:
            known = await self._declared(reader, launch, kept, known, shared)
        if _is_ignored(known):
            raise Unanswered(f"UserQuota {known['metadata']['name']} is {known['status'].get('summary', 'ignored')}")
        return _answer(known, shared, launch)

    async def _declared(
        self, reader: Reader, launch: Launch, groups: Sequence[str], known: "Json | None", shared: Shared
    ) -> Json:
        """Tell the operator of the user, and wait for its answer where it could refuse the launch."""
        told = await reader.declare(launch.user, groups, known)
        if known is None and not any(_matters(p, launch.user, groups) for p in shared.policies.values()):
            return told  # no usage, and nothing that refuses without usage
        deadline = asyncio.get_running_loop().time() + self._options.first_launch_timeout
        while asyncio.get_running_loop().time() < deadline:
            now = await reader.user_quota(launch.user)
            generation = told["metadata"]["generation"]
            if now and now.get("status", {}).get("observedGeneration", 0) >= generation:
                return now
            await asyncio.sleep(_POLL_SECONDS)
        if known is None:
            raise Unanswered(
                f"the operator has not answered for {launch.user!r} in {self._options.first_launch_timeout} s"
            )
        return known

    def _refuse_by(self, spawner: Any, launch: Launch, answer: Answer) -> NoReturn:
        text, page = refusal(answer.verdict, answer.running, answer.now)
        again = None
        if answer.verdict.until is not None:
            spread = int(hashlib.sha256(launch.user.encode()).hexdigest(), 16) % _RETRY_SPREAD
            again = int((answer.verdict.until - answer.now).total_seconds()) + 1 + spread
        names = ",".join(q.get("name") or q["policies"][0] for q in answer.verdict.refusing)
        spawner.log.info("hubquota refuses user=%r server=%r policies=%s", launch.user, launch.server, names)
        _refuse(spawner, text, page, "compute-quota-exceeded", again=again)

    def _fail(self, spawner: Any, why: str) -> None:
        """No answer: go on, or refuse, as the admin said; one line tells what to mend."""
        what = "goes on" if self._options.failover_open else "is refused"
        spawner.log.warning("hubquota: the launch of %r %s without an answer: %s", spawner.user.name, what, why)
        if not self._options.failover_open:
            text = "Your quota cannot be read at the moment, so no server can be started. Please try again in a minute."
            _refuse(spawner, text, html.escape(text), "compute-quota-failed", status=424, again=60)


def _answer(known: Json, shared: Shared, launch: Launch) -> Answer:
    """Judge a launch by a UserQuota's status and by the pools that it names."""
    status = known.get("status", {})
    pools = [shared.policies.get(name, {}) for name in status.get("pools", ())]
    states = [pool.get("status", {}).get("pool") for pool in pools if _charges(pool, launch)]
    quotas = [*status.get("quotas", ()), *(pool for pool in states if pool)]
    running = [*status.get("running", ()), *({"server": name} for name in status.get("pending", ()))]
    verdict = judge(quotas, running, launch, shared.now, _foreseen(status))
    return Answer(verdict, running, shared.now, first=not status)


def _charges(policy: Json, launch: Launch) -> bool:
    """Whether a launch charges a pool of the user's: one for a chosen group charges no other group's."""
    scope = policy.get("spec", {}).get("scope", {})
    named = scope.get("everyone") or launch.user in scope.get("users", ())
    return not launch.group or bool(named) or launch.group in scope.get("groups", ())


def requested(spawner: Any) -> dict[str, int]:
    """What a launch asks for: requests, or limits where there is no request; bytes, else thousandths."""
    asked = {
        "memory": _ceiling(spawner.mem_guarantee or spawner.mem_limit or 0),
        "cpu": _ceiling((spawner.cpu_guarantee or spawner.cpu_limit or 0), 1000),
    }
    extended = {**(spawner.extra_resource_limits or {}), **(spawner.extra_resource_guarantees or {})}
    asked.update({name: _ceiling(amount, 1000) for name, amount in extended.items()})
    return {name: amount for name, amount in asked.items() if amount > 0}


def _ceiling(amount: object, times: int = 1) -> int:
    return int((Decimal(str(amount)) * times).to_integral_value(ROUND_CEILING))


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
    kept: list[str] = []
    left = _GROUP_BYTES
    for name in (sorted(first) + sorted(rest))[:_MOST_GROUPS]:
        left -= len(json.dumps(name, ensure_ascii=False).encode()) + 2
        if left < 0:
            break
        kept.append(name)
    return sorted(kept)


def _groups_of(policy: Json) -> Sequence[str]:
    """The groups that a policy names; none where it is not what a policy should be."""
    scope = (policy.get("spec") or {}).get("scope")
    groups = scope.get("groups") if isinstance(scope, dict) else None
    return [name for name in groups if isinstance(name, str)] if isinstance(groups, list) else []


def _own(known: "Json | None", launch: Launch) -> None:
    """Raise Unanswered where the UserQuota under the user's name is somebody else's."""
    if known is not None and known["spec"].get("user") != launch.user:
        name = known["metadata"]["name"]
        raise Unanswered(f"UserQuota {name} is not of {launch.user!r}, though its name says so: delete it")


def _is_ignored(known: Json) -> bool:
    return bool((known.get("status") or {}).get("decision") == "Ignored")


def _is_applied(policy: Json) -> bool:
    """Whether the operator applies the policy, or has not said yet. It says so of the generation that it has seen."""
    status = policy.get("status") or {}
    ready = [c for c in status.get("conditions", ()) if c.get("type") == "Ready" and c.get("status") == "False"]
    return not ready or status.get("observedGeneration") != policy["metadata"].get("generation")


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
        exc = HTTPError(status, text.replace("%", "%%"))
        if spawner.handler is not None:
            # JupyterHub 5 ends itself after five failures in a row, and counts every exception.
            settings = spawner.handler.settings
            settings["failure_count"] = settings.get("failure_count", 0) - 1
    exc.jupyterhub_message, exc.jupyterhub_html_message = text, page
    if again is not None:
        exc.headers = {"Retry-After": str(again)}
    raise exc


def _annotations(launch: Launch, groups: Sequence[str], chosen: str, primehub: bool, spawner: Any) -> dict[str, str]:
    made = {
        f"{_OURS}hub": spawner.namespace,
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
    earlier = getattr(spawner.modify_pod_hook, "hubquota_earlier", spawner.modify_pod_hook)

    async def modify(chosen: Any, pod: Any) -> Any:
        if earlier is not None:
            pod = earlier(chosen, pod)
            if asyncio.iscoroutine(pod) or asyncio.isfuture(pod):
                pod = await pod
        pod.metadata.annotations = {**(pod.metadata.annotations or {}), **annotations}
        return pod

    modify.hubquota_earlier = earlier  # type: ignore[attr-defined]
    spawner.modify_pod_hook = modify


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
    hook sets on a spawner comes too late.
    """
    plain = getattr(KubeSpawner.progress, "hubquota_plain", KubeSpawner.progress)

    async def progress(self: Any) -> AsyncIterator[Json]:
        with contextlib.suppress(asyncio.TimeoutError):
            message = await asyncio.wait_for(asyncio.shield(_message_of(self)), seconds)
            if message is not None:
                yield message
        async for event in plain(self):
            yield event

    progress.hubquota_plain = plain  # type: ignore[attr-defined]
    KubeSpawner.progress = progress
