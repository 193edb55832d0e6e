"""What becomes of one hub in a storm: its pods live as planned, and in the end its part of the ledger is judged."""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Final

import httpx

from hubquota.domain.history import PodRecord
from hubquota.ledger import Ledger
from tests.storm import plans, statuses, truth
from tests.storm.comparing import compare
from tests.storm.hub import PLAN, HubOfPlans
from tests.storm.plans import Plan, Way
from tests.storm.result import Judged
from tests.storm.size import Size
from tests.storm.stage import HubParts
from tests.storm.truth import Truth
from tests.testbed.edges import EdgeLog, lines
from tests.testbed.rest import Json, Rest

#: Pods that live after the last kill, of all hubs: then nobody has an excuse.
_CALM: Final = 30
#: Seconds for what is under way at the end to be told, written and shown.
_PATIENCE: Final = 240.0
_STAYS: Final = {Way.KEPT: "Succeeded", Way.RUNS_ON: "Running"}


class Course:
    """One hub's. ``pods``: how many it makes while parts are killed."""

    def __init__(self, rest: Rest, size: Size, parts: HubParts, pods: int) -> None:
        self._rest, self._parts = rest, parts
        self._hub = HubOfPlans(rest, parts.namespace, EdgeLog(parts.hub_log))
        self._made = plans.drawn(size.seed, parts.namespace, pods, size.seconds)
        self._calm = plans.calm(size.seed, parts.namespace, _CALM // len(size.hubs))

    @property
    def begun(self) -> int:
        """How many pods it has made."""
        log = self._parts.hub_log
        return log.read_text().count('"created"') if log.exists() else 0

    async def storm(self) -> None:
        """The pods that live while parts are killed. Raises httpx.HTTPError where one is refused."""
        await self._hub.play(self._made)

    async def calm(self) -> None:
        """Those that live after it, once all is done that a storm left to do. Raises TimeoutError.

        A kubelet that is still behind would place some of them after the hub has deleted them.
        """
        await self._settled(self._made)
        await self._hub.play(self._calm)
        await self._settled(self._plans)

    async def judged(self) -> Judged:
        """Compare until nothing is wrong, or for as long as the operator may take."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            truths = truth.read(self._parts.hub_log, self._parts.kubelet_log, self._plans)
            records = await _records(self._parts.database, self._parts.namespace)
            compared = compare(truths, records, self._parts.listings.seen)
            wrong = await statuses.faults(self._rest, self._parts.namespace, records)
            judged = Judged(truths, records, compared, wrong, _lost(truths, await self._pods()))
            if not judged.faults or time.monotonic() > deadline:
                return judged
            await asyncio.sleep(1)

    @property
    def _plans(self) -> Sequence[Plan]:
        return [*self._made, *self._calm]

    async def _settled(self, plans: Sequence[Plan]) -> None:
        """Wait until the cluster holds what the plans leave in it, and no more."""
        every = (one for plan in plans for one in plan.chain())
        expected = {(one.number, one.name): _STAYS[one.way] for one in every if one.way in _STAYS}
        deadline = time.monotonic() + _PATIENCE
        while (found := await self._phases()) != expected:
            if time.monotonic() > deadline:
                differ = found.items() ^ expected.items()
                raise TimeoutError(
                    f"not all pods are as planned: {differ}; {self._logged({name for (_, name), _ in differ})}"
                )
            await asyncio.sleep(0.3)

    def _logged(self, names: Collection[str]) -> str:
        """All that the hub and the kubelet have noted of pods of these names."""
        logs = (self._parts.hub_log, self._parts.kubelet_log)
        return "\n".join(str(line) for log in logs for line in lines(log) if line["pod"] in names)

    async def _phases(self) -> dict[tuple[int, str], str]:
        found = {}
        for pod in await self._pods():
            meta = pod["metadata"]
            found[int(meta["annotations"][PLAN]), meta["name"]] = pod["status"]["phase"]
        return found

    async def _pods(self) -> list[Json]:
        path = f"/api/v1/namespaces/{self._parts.namespace}/pods"
        while True:
            try:
                listed: list[Json] = (await self._rest.call("GET", path))["items"]
            except httpx.HTTPError:
                await asyncio.sleep(0.3)
            else:
                return listed


async def _records(database: str, hub: str) -> list[PodRecord]:
    async with await Ledger.open(database) as ledger:
        return [record async for record in ledger.pods_since(hub, -1)]


def _lost(truths: Sequence[Truth], there: Sequence[Json]) -> list[str]:
    """Ends that the API server had acknowledged, and does not have any more."""
    told = {t.uid for t in truths if t.finished_told is not None}
    return [p["metadata"]["name"] for p in there if p["metadata"]["uid"] in told and p["status"]["phase"] == "Running"]
