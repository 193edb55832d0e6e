"""One storm: pods live as planned while parts are killed; then there is calm, and ledgers and statuses are judged."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from tests.storm import auditing, kills
from tests.storm.course import Course
from tests.storm.kills import Kill, Victim
from tests.storm.result import Result
from tests.storm.size import Size, kind_of
from tests.storm.stage import Parts
from tests.testbed.rest import Rest

#: An operator that lives, and watches, misses nothing where its database dies.
_IN_THE_CALM: Final = {"postgres": [Kill(at=2, down=3, hasty=True)]}


async def run(size: Size, parts: Parts, report: Callable[[str], None]) -> Result:
    """A storm over parts that are up. ``report`` is told what goes on.

    Raises NotReady where a part does not come back, TimeoutError where pods do not get where they should.
    """
    begun = time.monotonic()
    wanted = kills.schedule(size)
    async with Rest(parts.api.kubeconfig) as rest, _looking(parts):
        victims = parts.victims(rest)
        courses = [Course(rest, size, hub, pods) for hub, pods in zip(parts.hubs, size.pods_of_hubs(), strict=True)]
        for victim in _operators(victims):
            await kills.until_ready(victim)
        async with asyncio.TaskGroup() as group:
            for course in courses:
                group.create_task(course.storm())
            group.create_task(kills.carry_out(wanted, victims, _progress(size, victims, courses, report)))
        report(f"{size.kills} kills are done")
        await _all_ready(victims)
        async with asyncio.TaskGroup() as group:
            for course in courses:
                group.create_task(course.calm())
            if "postgres" in victims:
                group.create_task(kills.carry_out(_IN_THE_CALM, victims, lambda: None))
        report("all pods are where they should be")
        judged = {hub: await course.judged() for hub, course in zip(size.hubs, courses, strict=True)}
        audit = await asyncio.to_thread(_audit, parts)
    killed = {name: victim.killed for name, victim in victims.items()}
    return Result(size, wanted, killed, judged, audit, time.monotonic() - begun, _ended_by_themselves(parts))


@asynccontextmanager
async def _looking(parts: Parts) -> AsyncIterator[None]:
    """Note all listings of the operators meanwhile."""
    looking = [asyncio.create_task(hub.listings.run()) for hub in parts.hubs]
    try:
        yield
    finally:
        for one in looking:
            one.cancel()
        await asyncio.gather(*looking, return_exceptions=True)


def _progress(
    size: Size, victims: Mapping[str, Victim], courses: Sequence[Course], report: Callable[[str], None]
) -> Callable[[], None]:
    def told() -> None:
        done = sum(len(victim.killed) for victim in victims.values())
        if done % max(5, size.kills // 50) == 0:
            made = sum(course.begun for course in courses)
            report(f"{done} of {size.kills} kills, {made} of {size.pods} pods made")

    return told


async def _all_ready(victims: Mapping[str, Victim]) -> None:
    """Everything is up, and the operators have looked since."""
    for name, victim in victims.items():
        if kind_of(name) != "operator":
            await kills.until_ready(victim)
    since = time.time()
    for victim in _operators(victims):
        await kills.until_ready(victim, since)


def _operators(victims: Mapping[str, Victim]) -> list[Victim]:
    return [victim for name, victim in victims.items() if kind_of(name) == "operator"]


def _audit(parts: Parts) -> list[str]:
    """What is wrong with any of the databases, by an admin who may read all of their hubs."""
    found = []
    for database in dict.fromkeys(hub.database for hub in parts.hubs):
        within = [hub for hub in parts.hubs if hub.database == database]
        settings = {**within[0].operator.env, "KUBECONFIG": str(parts.api.kubeconfig)}
        found += auditing.differences(settings, [hub.namespace for hub in within])
    return found


def _ended_by_themselves(parts: Parts) -> dict[str, int]:
    """How often parts ended without being killed, and were started again."""
    ended: Counter[str] = Counter()
    for program in parts.programs:
        ended[program.name] += program.log.read_text(errors="replace").count(f"{program.name} ended with ")
    return ended
