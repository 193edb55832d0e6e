"""Scenarios through the real operator on the real API server: each in a namespace of its own, all at once.

What was gone before a scenario's instant stands in the ledger that the operator starts on; everything else is made
through the API as the hub, the kubelet and admins make it, while the operator runs.
"""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx

from hubquota.domain.pods import rfc3339
from hubquota.ledger import Ledger
from hubquota.resources.names import user_quota_name
from tests.scenarios import objects
from tests.scenarios.expecting import launch_faults, policy_faults, pool_faults, user_faults
from tests.scenarios.vocabulary import (
    Act,
    Begin,
    Case,
    Delete,
    Finish,
    Grow,
    Join,
    Json,
    Remove,
    User,
    Write,
    instant,
)  # fmt: skip
from tests.scenarios.world import CLUSTER, OTHER_HUB, Known, World, record_of
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import ROOT
from tests.testbed.patience import PATIENCE
from tests.testbed.processes import Program
from tests.testbed.rest import APPLY, MERGE, STRATEGIC_MERGE, Rest

_OURS: Final = "/apis/hubquota.dev/v1alpha1"
_NOT_YET: Final = (httpx.codes.FORBIDDEN, httpx.codes.TOO_MANY_REQUESTS)
_IN_FLIGHT: Final = 16
#: Hubs of one operator, as many as its settings allow.
_HUBS: Final = 500
_RUNTIME: Final = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "scenarios-kata"},
    "handler": "kata",
    "overhead": {"podFixed": {"memory": "256Mi"}},
}


async def faults(api: ControlPlane, folder: Path, cases: Sequence[Case]) -> dict[str, list[str]]:
    """What the operator says otherwise than scenarios of one instant expect, by name; empty: nothing."""
    run = secrets.token_hex(4)
    async with Rest(api.kubeconfig) as rest:
        stages = [Stage(rest, case, f"s{run}-{place}") for place, case in enumerate(cases)]
        await _apply(rest, "/apis/node.k8s.io/v1/runtimeclasses", _RUNTIME)
        await _all(stage.prepare for stage in stages)
        shards = [stages[first : first + _HUBS] for first in range(0, len(stages), _HUBS)]
        programs = [await _operator(api, folder / f"ledger-{i}.db", shard) for i, shard in enumerate(shards)]
        try:
            for program in programs:
                program.start()
            found = await _play(rest, stages, programs)
            return found | {p.name: [p.last_words()] for p in programs if "Traceback" in p.last_words(10_000_000)}
        finally:
            for program in programs:
                program.kill()  # an orderly stop takes seconds, and is tested elsewhere


async def _play(rest: Rest, stages: Sequence["Stage"], programs: Sequence[Program]) -> dict[str, list[str]]:
    """All steps. A scenario that goes wrong at one is left there."""
    found: dict[str, list[str]] = {}
    for step in range(max(len(stage.case.phases) for stage in stages)):
        stages = [stage for stage in stages if stage.case.name not in found]
        await _all(partial(s.play, step) for s in stages if step < len(s.case.phases))
        wrong = await _settled(rest, stages, programs)
        found |= {name: [f"step {step}: {fault}" for fault in told] for name, told in wrong.items()}
    return found


async def _settled(rest: Rest, stages: Sequence["Stage"], programs: Sequence[Program]) -> dict[str, list[str]]:
    """Wait until all statuses of one look say what is expected; what some say otherwise when it gets no better."""
    fewest, deadline, looked_at = len(stages) + 1, 0.0, stages
    while True:
        seen = await _seen(rest, {name for stage in stages for name in stage.namespaces})
        wrong = _wrong(looked_at, seen) or _wrong(stages, seen)
        if len(wrong) < fewest:
            fewest, deadline = len(wrong), time.monotonic() + PATIENCE
        if not wrong or time.monotonic() > deadline:
            return wrong
        looked_at = [stage for stage in stages if stage.case.name in wrong]
        for program in programs:
            assert program.running, program.last_words()
        await asyncio.sleep(0.5)


def _wrong(stages: Sequence["Stage"], seen: "Seen") -> dict[str, list[str]]:
    return {stage.case.name: found for stage in stages if (found := list(stage.faults(seen)))}


async def _seen(rest: Rest, namespaces: Collection[str]) -> "Seen":
    """Others' namespaces, which may be full of what nobody can read, are passed over."""
    listed = [await _listed(rest, plural) for plural in ("userquotas", "quotapolicies")]
    return Seen(*([item for item in items if item["metadata"]["namespace"] in namespaces] for items in listed))


class Seen:
    """All statuses at one look: of users by namespace and name, of policies by namespace and name."""

    def __init__(self, user_quotas: Sequence[Json], policies: Sequence[Json]) -> None:
        self.users = {(q["metadata"]["namespace"], q["spec"]["user"]): q for q in user_quotas}
        self.policies = {(p["metadata"]["namespace"], p["metadata"]["name"]): p for p in policies}


class Stage:
    """One scenario in its namespace."""

    def __init__(self, rest: Rest, case: Case, namespace: str) -> None:
        self.rest, self.case, self.namespace = rest, case, namespace
        self.world = World(case)
        self._phase = case.phases[0]

    @property
    def namespaces(self) -> list[str]:
        """Its own, and that of the other hub where there is one."""
        other = [self._hub(known) for known in self.world.pods if known.hub == OTHER_HUB]
        return [self.namespace, *dict.fromkeys(other)]

    async def prepare(self) -> None:
        """What is there before the operator: namespaces, policies, and what the hook said of users."""
        for name in self.namespaces:
            body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await _call(self.rest, "POST", "/api/v1/namespaces", body)
        for policy, spec in self.case.policies.items():
            await self._write(policy, spec)
        for user in self._announced():
            await self._announce(user)

    async def remember(self, ledger: Ledger) -> None:
        """What the ledger has: since when it was watched, and the pods that are gone."""
        for name in self.namespaces:
            await ledger.covered_since(name, self.case.covered_since)
        gone = [known for known in self.world.pods if known.is_history]
        records = [record_of(known, f"{self.namespace}-{known.uid}", self._hub(known)) for known in gone]
        await ledger.record([record for record in records if record is not None])

    async def play(self, step: int) -> None:
        """Do what happens at a step: at the first, all pods come."""
        self._phase = self.case.phases[step]
        if step == 0:
            for known in self.world.pods:
                if not known.is_history:
                    await self._place(known)
        for act in self._phase.acts:
            self.world.do(act)
            await self._do(act)

    def faults(self, seen: Seen) -> Iterator[str]:
        """What statuses say otherwise than is expected now."""
        told = {name: p for (namespace, name), p in seen.policies.items() if namespace == self.namespace}
        pools = {name: policy.get("status", {}).get("pool") for name, policy in told.items()}
        for name, pool in self._phase.pools.items():
            yield from pool_faults(name, pool, pools.get(name), self.case.at)
        for name, expected in self._phase.told.items():
            yield from policy_faults(name, expected, told[name].get("status", {}))
        for policy in told.values():
            yield from _stale(policy)
        for user, standing in self._phase.users.items():
            yield from self._user_faults(user, standing, seen.users.get((self.namespace, user)), pools)

    def _user_faults(
        self, user: str, expected: User, found: Json | None, pools: Mapping[str, Json | None]
    ) -> Iterator[str]:
        if found is None:
            yield f"{user} has no UserQuota"
            return
        status = found.get("status", {})
        yield from _stale(found)
        yield from user_faults(user, expected, status, self.case.at)
        yield from launch_faults(user, expected.launches, status, pools, self.world.specs, self.case.at)
        if expected.running is not None and expected.running != len(status.get("running", ())):
            yield f"{user}: {expected.running} should run, not {status.get('running')}"

    def _announced(self) -> list[str]:
        """Those of whom the hook has told: with groups, or without usage. The operator makes the others' UserQuotas."""
        expected = {user: standing for phase in self.case.phases for user, standing in phase.users.items()}
        idle = [user for user, s in expected.items() if not any(q.used not in (0, "") for q in s.quotas.values())]
        return list(dict.fromkeys([*self.case.members, *idle]))

    async def _announce(self, user: str) -> None:
        spec = {"user": user, "groups": list(self.world.members.get(user, ()))}
        spec["groupsObservedAt"] = rfc3339(self.case.at)
        body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "spec": spec}
        body["metadata"] = {"name": user_quota_name(user)}
        await _call(self.rest, "POST", self._path("userquotas"), body)

    async def _do(self, act: Act) -> None:
        match act:
            case Write(policy, spec):
                await self._write(policy, spec)
            case Remove(policy):
                await _call(self.rest, "DELETE", f"{self._path('quotapolicies')}/{policy}")
            case Join(user, groups):
                path = f"{self._path('userquotas')}/{user_quota_name(user)}"
                await _call(self.rest, "PATCH", path, {"spec": {"groups": list(groups)}}, MERGE)
            case Begin():
                await self._place(self.world.pods[-1])
            case Finish(name, at):
                known = self.world.find(name)
                made = objects.spec(known.pod, known.asks)
                end = instant(at, self.case.at)
                await self.rest.status(self._pod(known), objects.finished_status(made, "Succeeded", end))
            case Delete(name):
                await _call(self.rest, "DELETE", self._pod(self.world.find(name)), {"gracePeriodSeconds": 0})
            case Grow(name, asks):
                known = self.world.find(name)
                change = {"spec": {"containers": objects.spec(known.pod, asks)["containers"]}}
                await _call(self.rest, "PATCH", f"{self._pod(known)}/resize", change, STRATEGIC_MERGE)

    async def _write(self, policy: str, spec: Json) -> None:
        body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "QuotaPolicy", "spec": spec}
        await _apply(self.rest, self._path("quotapolicies"), body | {"metadata": {"name": policy}})

    async def _place(self, known: Known) -> None:
        """As scheduler and kubelet do: first the instant of the placement, which the binding then leaves as it is."""
        meta = objects.metadata(known.pod, known.name)
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": objects.spec(known.pod, known.asks)}
        await _call(self.rest, "POST", f"/api/v1/namespaces/{self._hub(known)}/pods", body)
        await self.rest.status(self._pod(known), known.sights[0].pod["status"])
        if known.pod.since is None:
            return
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": known.name}}
        binding |= {"target": {"apiVersion": "v1", "kind": "Node", "name": "fake"}}
        await _call(self.rest, "POST", f"{self._pod(known)}/binding", binding)

    def _hub(self, known: Known) -> str:
        return f"{self.namespace}-other" if known.hub == OTHER_HUB else self.namespace

    def _pod(self, known: Known) -> str:
        return f"/api/v1/namespaces/{self._hub(known)}/pods/{known.name}"

    def _path(self, plural: str) -> str:
        return f"{_OURS}/namespaces/{self.namespace}/{plural}"


def _stale(found: Json) -> Iterator[str]:
    told, generation = found.get("status", {}).get("observedGeneration"), found["metadata"]["generation"]
    if told != generation:
        yield f"{found['metadata']['name']}: the status speaks for generation {told}, not {generation}"


async def _operator(api: ControlPlane, ledger: Path, stages: Sequence[Stage]) -> Program:
    """An operator of these scenarios' hubs on a ledger that knows their past. It has not been started."""
    url = f"sqlite:///{ledger}"
    async with await Ledger.open(url, CLUSTER) as kept:
        for stage in stages:
            await stage.remember(kept)
    namespaces = [name for stage in stages for name in stage.namespaces]
    env = {
        "KUBECONFIG": str(api.kubeconfig),
        "HUBQUOTA_HUB_NAMESPACES": json.dumps(namespaces),
        "HUBQUOTA_OPERATOR_NAMESPACE": namespaces[0],
        "HUBQUOTA_DATABASE_URL": url,
        # Nobody else would write, and a crowded machine may hold up a renewal.
        "HUBQUOTA_WRITER_LEASE_DURATION": "60",
        "HUBQUOTA_WRITER_RENEW_DEADLINE": "55",
    }
    command = [sys.executable, "-m", "tests.scenarios.operator_at", str(stages[0].case.at)]
    return Program(f"operator of {namespaces[0]}", command, ledger.with_suffix(".log"), env, ROOT)


async def _listed(rest: Rest, plural: str) -> list[Json]:
    items: list[Json] = (await _call(rest, "GET", f"{_OURS}/{plural}"))["items"]
    return items


async def _apply(rest: Rest, path: str, body: Mapping[str, Any]) -> None:
    """As ``kubectl apply --server-side`` does."""
    name = body["metadata"]["name"]
    await _call(rest, "PATCH", f"{path}/{name}?fieldManager=admin&force=true", dict(body), APPLY)


async def _call(rest: Rest, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> Json:
    """One call, and again as long as the API server is not ready for it: an admission plugin has not heard yet of what
    was made a moment ago, or a new kind's store is being opened."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return await rest.call(method, path, body, kind)
        except httpx.HTTPStatusError as refused:
            if refused.response.status_code not in _NOT_YET or time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)


async def _all(works: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """All of it, a few at a time."""
    slots = asyncio.Semaphore(_IN_FLIGHT)

    async def one(work: Callable[[], Awaitable[None]]) -> None:
        async with slots:
            await work()

    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(one(work))
