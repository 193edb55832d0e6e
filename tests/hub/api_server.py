"""An API server in this process that fails as it is told, and a spawner as the hook sees one."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from kubespawner import KubeSpawner
from prometheus_client import REGISTRY

import hubquota_hook as hook

Json = dict[str, Any]
Failure = Callable[[web.BaseRequest], Awaitable[web.StreamResponse | None]]


class FakeApi:
    """What the hook asks of an API server. ``failing``: asked first; None: it goes on as if nothing was.

    ``watched``: whether UserQuotas may be watched. ``log``: method and path of each call.
    """

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.beat: datetime | None = self.now
        self.notes: dict[str, str] = {}
        self.policies: list[Json] = []
        self.quotas: dict[str, Json] = {}
        self.events: list[Json] = []
        self.failing: Failure | None = None
        self.asked = 0
        self.log: list[str] = []
        self.watched = False
        self.watches: list[web.StreamResponse] = []
        self._revision, self._changes = 100, list[tuple[int, bytes]]()

    def answer(self, name: str, status: Json) -> None:
        """Write a status, as the operator does."""
        self.quotas[name] = {**self.quotas[name], "status": status}
        self.change(name)

    def change(self, name: str, kind: str = "MODIFIED") -> None:
        """Have a UserQuota as it is now told to all who watch."""
        self._revision += 1
        found = self.quotas[name]
        found["metadata"]["resourceVersion"] = str(self._revision)
        self._changes.append((self._revision, json.dumps({"type": kind, "object": found}).encode() + b"\n"))

    def asked_for(self, part: str) -> int:
        """Calls of which method and path hold this."""
        return sum(part in line for line in self.log)

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked += 1
        self.log.append(f"{request.method} {request.path_qs}")
        failed = await self.failing(request) if self.failing else None
        return failed or await self._answer(request)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        kind, _, name = request.path.partition("/namespaces/hub/")[2].partition("/")
        if kind == "events":
            self.events.append(await request.json())
            return self._json(self.events[-1], 201)
        if kind == "quotapolicies":
            return self._json({"items": self.policies})
        if kind == "leases":
            beat = self.beat and self.beat.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            found = {"metadata": {"annotations": self.notes}, "spec": {"renewTime": beat}}
            return self._json(found, 200 if beat else 404)
        return await self._user_quota(request, name)

    async def _user_quota(self, request: web.BaseRequest, name: str) -> web.StreamResponse:
        if "watch" in request.query:
            return await self._watch(request)
        if request.method == "GET":
            return self._json(self.quotas.get(name, {}), 200 if name in self.quotas else 404)
        told = await request.json()
        name = name or told["metadata"]["name"]
        made = self.quotas.setdefault(name, {"metadata": {"name": name, "generation": 0}})
        made["metadata"]["generation"] += 1
        made["spec"] = told["spec"]
        self.change(name, "ADDED" if request.method == "POST" else "MODIFIED")
        return self._json(made)

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        """What changes after a resourceVersion, for as long as somebody listens."""
        if not self.watched:
            return self._json({"message": "not allowed"}, 403)
        watch, told = web.StreamResponse(), 0
        await watch.prepare(request)
        self.watches.append(watch)
        try:
            while watch in self.watches and request.transport is not None:
                for revision, line in self._changes[told:]:
                    if revision > int(request.query["resourceVersion"]):
                        await watch.write(line)
                told = len(self._changes)
                await asyncio.sleep(0.01)
        finally:
            self.watches = [other for other in self.watches if other is not watch]
        return watch

    def _json(self, body: Json, status: int = 200) -> web.Response:
        date = self.now.strftime("%a, %d %b %Y %H:%M:%S GMT")
        return web.Response(text=json.dumps(body), status=status, headers={"Date": date})


@asynccontextmanager
async def serving(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The hook asks ``api`` for as long as this lasts."""
    from kubernetes_asyncio.client import ApiClient, Configuration

    runner = web.ServerRunner(web.Server(api), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    client = ApiClient(Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}"))
    monkeypatch.setattr(hook, "shared_client", lambda _: SimpleNamespace(api_client=client))
    try:
        yield
    finally:
        await _end_of_telling()
        await client.close()
        await runner.cleanup()


async def _end_of_telling() -> None:
    """Nobody is left who would open a connection while the server ends; those that are open have been taken."""
    code = {task: getattr(task.get_coro(), "cr_code", None) for task in asyncio.all_tasks()}
    telling = [task for task, of in code.items() if of is not None and of.co_filename == hook.__file__]
    for task in telling:
        task.cancel()
    await asyncio.gather(*telling, return_exceptions=True)
    for _ in range(5):
        await asyncio.sleep(0)


class Launching(SimpleNamespace):
    """A spawner, as far as the hook looks at it."""

    @staticmethod
    def section_names() -> list[str]:
        """The names under which it is configured."""
        return ["Spawner", "KubeSpawner"]


def spawner(user: str = "alice", *groups: str, **more: Any) -> Any:  # noqa: ANN401
    """A launch of a user's; ``namespace``: as it is configured."""
    whose = SimpleNamespace(name=user, groups=[SimpleNamespace(name=name) for name in groups])
    had: Json = {"user": whose, "name": "", "user_options": {}, "namespace": "hub", "pod_name": f"jupyter-{user}"}
    had["config"] = {"KubeSpawner": {"namespace": more.get("namespace", "hub")}}
    had |= {"mem_guarantee": 2**30, "mem_limit": None, "cpu_guarantee": None, "cpu_limit": None, "handler": None}
    had |= {"extra_resource_limits": {}, "extra_resource_guarantees": {}, "modify_pod_hook": None}
    return Launching(**had | {"log": logging.getLogger("hub")} | more)


def real_spawner(monkeypatch: pytest.MonkeyPatch, **more: Any) -> Any:  # noqa: ANN401
    """A launch of alice's, by KubeSpawner itself. ``more``: what it is made with."""
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)  # there is no cluster
    real = KubeSpawner(_mock=True, **more)
    real.user.name, real.user.groups, real.handler = "alice", [], None
    return real


def gate(**traits: Any) -> hook.Gate:  # noqa: ANN401
    """The hook, with a deadline that a crowded machine meets."""
    return hook.Gate(hook.HubQuota(**{"timeout": 20.0} | traits), None)


def strict_gate(**traits: Any) -> hook.Gate:  # noqa: ANN401
    """One that lets nobody in without an answer, for which it waits long."""
    return gate(**{"first_launch_timeout": 20.0, "failover_open": False} | traits)


def impatient_gate(**traits: Any) -> hook.Gate:  # noqa: ANN401
    """One that does not wait for the operator for long."""
    return gate(**{"first_launch_timeout": 0.3} | traits)


def known(user: str = "alice", *quotas: Json, groups: tuple[str, ...] = ()) -> Json:
    """A UserQuota that the operator has answered."""
    meta = {"name": hook.user_quota_name(user), "generation": 1}
    status = {"observedGeneration": 1, "quotas": list(quotas), "pools": [], "running": []}
    return {"metadata": meta, "spec": {"user": user, "groups": list(groups)}, "status": status}


def used_up(api: FakeApi, **more: Any) -> Json:  # noqa: ANN401
    """A quota of 40 GiB-hours that is used up for two hours more."""
    start, end = ((api.now + timedelta(hours=h)).strftime("%Y-%m-%dT%H:%M:%SZ") for h in (-1, 2))
    told = {"name": "weekly", "policies": ["weekly"], "resource": "memory", "window": {"rolling": "7d"}}
    told |= {"limit": "40", "used": "41.5", "unit": "GiB-hours", "enforcement": "Deny"}
    return told | {"blocked": [{"from": start, "until": end}], "blockedIfStopped": []} | more


def count(name: str, **labels: str) -> float:
    """What a counter of the hook's stands at, in the registry that all tests share."""
    return REGISTRY.get_sample_value(f"hubquota_hook_{name}_total", labels) or 0


# --- How an API server fails ---


async def hanging(_: web.BaseRequest) -> None:
    """It takes calls, and does not answer."""
    await asyncio.sleep(60)


async def cut(request: web.BaseRequest) -> None:
    """It ends each connection."""
    assert request.transport
    request.transport.close()


def answering(status: int, text: str = "{}") -> Failure:
    """It answers so whatever it is asked, but takes Events."""

    async def answer(request: web.BaseRequest) -> web.Response | None:
        return None if "/events" in request.path else web.Response(status=status, text=text)

    return answer


def slow(seconds: float) -> Failure:
    """It takes so long for each answer."""

    async def late(_: web.BaseRequest) -> None:
        await asyncio.sleep(seconds)

    return late


class Passing:
    """The loop's clock, which a test has go on at once: what is due by then comes before anything else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        plain, self._gone = loop.time, 0.0
        monkeypatch.setattr(loop, "time", lambda: plain() + self._gone)

    async def __call__(self, seconds: float) -> None:
        self._gone += seconds
        for _ in range(5):
            await asyncio.sleep(0)
