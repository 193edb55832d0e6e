"""Run by another Python, with the hook's file alone: traits, launches that go on, and launches that are refused.

It imports nothing of the tests, for nothing of theirs is there.
"""

# ruff: noqa: ANN401, PT017 - there is no pytest where this runs

import asyncio
import contextlib
import json
import logging
import sys
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

from kubernetes_asyncio.client import Configuration
from kubespawner import KubeSpawner
from tornado.web import HTTPError
from traitlets import TraitError
from traitlets.config import Config

import hubquota_hook as hook

NOW = datetime.now(timezone.utc).replace(microsecond=0)  # noqa: UP017 - Python 3.10


def at(hours: int) -> str:
    return (NOW + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")


QUOTA = {
    "name": "weekly",
    "policies": ["weekly"],
    "resource": "memory",
    "window": {"rolling": "7d"},
    "limit": "40",
    "used": "41.5",
    "unit": "GiB-hours",
    "enforcement": "Deny",
    "message": "100% <b>used</b>",
    "blocked": [{"from": at(0), "until": at(2)}],
    "blockedIfStopped": [],
}
OPEN = {**QUOTA, "used": "1", "blocked": [], "forecast": [{"at": at(0), "used": "1"}, {"at": at(168), "used": "1"}]}
POOL = {
    "metadata": {"name": "pool", "generation": 1},
    "spec": {"scope": {"users": ["mute", "pooled", "unheard"]}, "sharing": "Shared", "limit": {"value": 1}},
}
#: UserQuotas that launches have made; how often they looked at each; Events; what the hub's log has.
MADE: "dict[str, Any]" = {}
LOOKS: "dict[str, int]" = {}
EVENTS: "list[Any]" = []
SAID: "list[str]" = []
#: Until they are set: nothing is answered; nothing that the user "held" reads, nor what is told of "mute".
WELL, FREE = threading.Event(), threading.Event()


class Api(BaseHTTPRequestHandler):
    """As much of an API server, and of an operator, as a launch asks for."""

    def do_GET(self) -> None:
        WELL.wait(60)
        path, _, query = self.path.partition("?")
        name = path.rpartition("/")[2]
        if "/leases/" in path:
            self._answer({"metadata": {}, "spec": {"renewTime": NOW.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}})
        elif "watch=1" in query:
            self._watch()
        elif "/userquotas/" in path:
            self._user_quota(name)
        else:
            self._answer({"items": [POOL]})

    def _watch(self) -> None:
        """It tells of one user, for as long as somebody listens; later ones have to look for themselves."""
        if "pooled" in MADE:
            self._answer({"message": "not allowed"}, 403)
        else:
            self.send_response(200)
            self.end_headers()
            change = {"type": "MODIFIED", "object": answered("new", OPEN)}
            self.wfile.write(json.dumps(change).encode() + b"\n")
            self.rfile.read()

    def _user_quota(self, name: str) -> None:
        """Three users are known; one more is answered while their launch looks again and again."""
        LOOKS[name] = LOOKS.get(name, 0) + 1
        if name == "held":
            FREE.wait(60)
        if name in ("held", "light", "heavy"):
            self._answer(answered(name, QUOTA if name == "heavy" else OPEN))
        elif name == "pooled" and LOOKS[name] > 3:
            self._answer(answered(name, QUOTA))
        else:
            self._answer(MADE.get(name, {}), 200 if name in MADE else 404)

    def do_POST(self) -> None:
        WELL.wait(60)
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/events"):
            EVENTS.append(json.loads(told["metadata"]["annotations"]["hubquota.dev/decision"]))
        else:
            if told["spec"]["user"] == "mute":
                FREE.wait(60)
            told["metadata"].update(generation=1, resourceVersion="7")
            MADE[told["spec"]["user"]] = told
        self._answer(told, 201)

    def _answer(self, body: Any, status: int = 200) -> None:
        self._send(json.dumps(body).encode(), status)

    def _send(self, text: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


class Server(ThreadingHTTPServer):
    """One that says nothing of those who gave up."""

    def handle_error(self, *_: Any) -> None:
        """They do not read what is written for them."""


class Log(logging.Handler):
    """The hub's."""

    def emit(self, record: logging.LogRecord) -> None:
        SAID.append(record.getMessage())


def answered(user: str, quota: Any) -> Any:
    """A UserQuota as the operator has answered it."""
    status = {"observedGeneration": 1, "quotas": [quota]}
    meta = {"name": user, "generation": 1, "resourceVersion": "8"}
    return {"metadata": meta, "spec": {"user": user, "groups": []}, "status": status}


class Launching(SimpleNamespace):
    """A spawner, as far as the hook looks at it."""

    @staticmethod
    def section_names() -> "list[str]":
        """The names under which it is configured."""
        return ["Spawner", "KubeSpawner"]


def spawner(user: str, settings: Any) -> Any:
    """A launch of a user's."""
    nothing = dict.fromkeys(("mem_limit", "cpu_guarantee", "cpu_limit", "modify_pod_hook"))
    return Launching(
        user=SimpleNamespace(name=user, groups=[]),
        name="",
        user_options={},
        config={"KubeSpawner": {"namespace": "hub"}},
        pod_name=f"jupyter-{user}",
        mem_guarantee=2**30,
        extra_resource_limits={},
        extra_resource_guarantees={},
        handler=SimpleNamespace(settings=settings),
        log=logging.getLogger("hub"),
        **nothing,
    )


async def until(check: Any) -> None:
    """Wait until something holds; main() says for how long."""
    while not check():
        await asyncio.sleep(0.01)


def configured(**traits: float) -> Any:
    """The hook as a hub has it, with time enough unless a trait says otherwise."""
    c = Config()
    c.HubQuota.update({"timeout": 20.0, "first_launch_timeout": 20.0, **traits})
    hook.setup_hubquota(c)
    return c.KubeSpawner.pre_spawn_hook


async def launched(hub: Any, user: str, settings: Any = None) -> Any:
    """A launch that goes on; raises the refusal of one that does not."""
    started = spawner(user, {} if settings is None else settings)
    await hub(started)
    pod = SimpleNamespace(metadata=SimpleNamespace(annotations=None))
    await started.modify_pod_hook(started, pod)
    assert pod.metadata.annotations["hubquota.dev/hub"] == "hub", pod
    return started


async def a_launch_says_what_is_left(hub: Any, user: str) -> None:
    """Be it that the operator knows the user, or is told behind the launch."""
    progress = KubeSpawner.progress(await launched(hub, user))
    first = await progress.__anext__()
    await progress.aclose()
    assert "39 of 40 GiB-hours left in any 7 days; with this server it lasts 1 d 15 h, until" in first["message"], first
    assert "<time datetime=" in first["html_message"], first


async def a_launch_is_refused(user: str) -> None:
    """Be it that the operator has spoken of the user, or that the launch has to wait until it does."""
    settings = {"failure_count": 0}
    try:
        await launched(configured(), user, settings)
    except HTTPError as refused:
        text = refused.jupyterhub_message
        assert text.endswith(f"{at(2).replace('T', ' ')[:-1]} UTC (in 2 h). 100% <b>used</b>"), text
        assert "100% &lt;b&gt;used" in refused.jupyterhub_html_message
        of_version_5 = vars(hook)["SpawnException"] is None
        assert settings == {"failure_count": -1 if of_version_5 else 0}
        assert not of_version_5 or refused.log_message % refused.args == text, refused.log_message
    else:
        raise AssertionError(f"{user} was let through")


@contextlib.asynccontextmanager
async def somebody_has_yet_to_read(hub: Any) -> Any:
    """While this lasts, what the operator is told of others waits a little."""
    FREE.clear()
    LOOKS.pop("held", None)
    held = asyncio.ensure_future(launched(hub, "held"))
    await until(lambda: "held" in LOOKS)
    yield
    FREE.set()
    await held


async def a_launch_goes_on_without_an_answer(hub: Any, user: str, words: str) -> None:
    """Be it that the API server hangs, or that the operator does not answer."""
    await launched(hub, user)
    assert [line for line in SAID if f"the launch of {user!r} goes on without an answer: {words}" in line], SAID
    await until(lambda: WELL.is_set() or any("cannot be told of decisions" in line for line in SAID))


async def launches() -> None:
    """Launches of all kinds, one after the other."""
    late = "the API server has not answered within {} s"
    await a_launch_goes_on_without_an_answer(configured(timeout=0.3), "hanging", late.format(0.3))
    assert [line for line in SAID if f"cannot be told of decisions: {late.format(0.3)}" in line], SAID
    WELL.set()
    hub = configured(timeout=3.0, first_launch_timeout=0.05)
    async with somebody_has_yet_to_read(hub):
        await a_launch_goes_on_without_an_answer(hub, "mute", late.format(3.05))
    hub = configured()
    async with somebody_has_yet_to_read(hub):
        for user in ("light", "new"):
            await a_launch_says_what_is_left(hub, user)
    for user in ("heavy", "pooled"):
        await a_launch_is_refused(user)
    words = "the operator has not answered for 'unheard' in 0.3 s"
    await a_launch_goes_on_without_an_answer(configured(first_launch_timeout=0.3), "unheard", words)
    failed, refused = ("hanging", "held", "mute", "unheard"), ("heavy", "pooled")
    told = {*((user, "failed-open") for user in failed), *((user, "refused") for user in refused)}
    await until(lambda: {(event["user"], event["kind"]) for event in EVENTS} == told)


def main() -> None:
    """Print the version that ran where all was right."""
    c = Config()
    c.HubQuota.timeout = -1
    try:
        hook.setup_hubquota(c)
    except TraitError as wrong:
        assert "Write a number of seconds" in str(wrong)
    else:
        raise AssertionError("a wrong trait was taken")
    logging.getLogger("hub").addHandler(Log())
    server = Server(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Configuration.set_default(Configuration(host=f"http://127.0.0.1:{server.server_port}"))
    asyncio.run(asyncio.wait_for(launches(), 110))
    print("%d.%d" % sys.version_info[:2])  # noqa: UP031


main()
