"""One storm: pods live as planned while parts are killed; then there is calm, and ledger and statuses are judged."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import httpx

from hubquota.domain.history import PodRecord
from hubquota.ledger import Ledger
from tests.storm import auditing, kills, plans, statuses, truth
from tests.storm.comparing import compare
from tests.storm.hub import PLAN, HubOfPlans
from tests.storm.plans import Plan, Way
from tests.storm.result import Judged, Result, Size
from tests.storm.stage import NAMESPACE, Parts
from tests.storm.truth import Truth
from tests.testbed.edges import EdgeLog
from tests.testbed.rest import Json, Rest

#: Pods that live after the last kill, when nobody has an excuse.
_CALM: Final = 30
#: Seconds for what is under way at the end to be told, written and shown.
_PATIENCE: Final = 90.0


async def run(size: Size, parts: Parts, report: Callable[[str], None]) -> Result:
    """A storm over parts that are up. ``report`` is told what goes on.

    Raises NotReady where a part does not come back, TimeoutError where pods do not get where they should.
    """
    begun = time.monotonic()
    made = plans.drawn(size.seed, size.pods, size.seconds)
    after = plans.calm(size.seed, _CALM)
    async with Rest(parts.api.kubeconfig) as rest:
        victims = parts.victims(rest)
        wanted = kills.schedule(size.seed, size.kills, size.seconds, list(victims))
        hub = HubOfPlans(rest, NAMESPACE, EdgeLog(parts.hub_log))
        looking = asyncio.create_task(parts.listings.run())
        try:
            await kills.until_ready(victims["operator"])
            async with asyncio.TaskGroup() as group:
                group.create_task(hub.play(made))
                group.create_task(kills.carry_out(wanted, victims, _progress(size, victims, parts, report)))
            report(f"{size.kills} kills are done")
            await _all_ready(victims)
            await hub.play(after)
            await _settled(rest, [*made, *after], parts)
            report("all pods are where they should be")
            judged = await _judged(rest, [*made, *after], parts)
            judged = replace(judged, audit=await asyncio.to_thread(auditing.differences, parts.operator.env))
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking
    killed = {name: victim.killed for name, victim in victims.items()}
    return Result(size, wanted, killed, judged, time.monotonic() - begun, _ended_by_themselves(parts))


def _progress(
    size: Size, victims: Mapping[str, kills.Victim], parts: Parts, report: Callable[[str], None]
) -> Callable[[], None]:
    def told() -> None:
        done = sum(len(victim.killed) for victim in victims.values())
        if done % max(5, size.kills // 50) == 0:
            made = parts.hub_log.read_text().count('"created"') if parts.hub_log.exists() else 0
            report(f"{done} of {size.kills} kills, {made} of {size.pods} pods made")

    return told


async def _all_ready(victims: Mapping[str, kills.Victim]) -> None:
    """Everything is up, and the operator has looked since."""
    for name in ("etcd", "kube-apiserver"):
        await kills.until_ready(victims[name])
    await kills.until_ready(victims["operator"], time.time())


async def _settled(rest: Rest, made: Sequence[Plan], parts: Parts) -> None:
    """Wait until the cluster holds what the plans leave in it, and no more."""
    stays = {Way.KEPT: "Succeeded", Way.RUNS_ON: "Running"}
    expected = {(one.number, one.name): stays[one.way] for plan in made for one in plan.chain() if one.way in stays}
    deadline = time.monotonic() + _PATIENCE
    while (found := await _phases(rest)) != expected:
        if time.monotonic() > deadline:
            differ = found.items() ^ expected.items()
            raise TimeoutError(f"not all pods are as planned: {differ}; {parts.kubelet.last_words()}")
        await asyncio.sleep(0.3)


async def _phases(rest: Rest) -> dict[tuple[int, str], str]:
    found = {}
    for pod in await _pods(rest):
        meta = pod["metadata"]
        found[int(meta["annotations"][PLAN]), meta["name"]] = pod["status"]["phase"]
    return found


async def _pods(rest: Rest) -> list[Json]:
    while True:
        try:
            listed: list[Json] = (await rest.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods"))["items"]
        except httpx.HTTPError:
            await asyncio.sleep(0.3)
        else:
            return listed


async def _judged(rest: Rest, made: Sequence[Plan], parts: Parts) -> Judged:
    """Compare until nothing is wrong, or for as long as the operator may take."""
    truths = truth.read(parts.hub_log, parts.kubelet_log, made)
    deadline = time.monotonic() + _PATIENCE
    while True:
        records = await _records(parts.database)
        compared = compare(truths, records, parts.listings.seen)
        wrong = await statuses.faults(rest, records)
        judged = Judged(truths, records, compared, wrong, _lost(truths, await _pods(rest)))
        if not judged.faults or time.monotonic() > deadline:
            return judged
        await asyncio.sleep(1)


async def _records(database: str) -> list[PodRecord]:
    async with await Ledger.open(database) as ledger:
        return [record async for record in ledger.pods_since(NAMESPACE, -1)]


def _lost(truths: Sequence[Truth], there: Sequence[Json]) -> list[str]:
    """Ends that the API server had acknowledged, and does not have any more."""
    told = {t.uid for t in truths if t.finished_told is not None}
    return [p["metadata"]["name"] for p in there if p["metadata"]["uid"] in told and p["status"]["phase"] == "Running"]


def _ended_by_themselves(parts: Parts) -> dict[str, int]:
    """How often parts ended without being killed, and were started again."""
    programs = (parts.operator, parts.api.apiserver, parts.api.etcd, parts.kubelet)
    return {p.name: p.log.read_text(errors="replace").count(f"{p.name} ended with ") for p in programs}
