"""The hub of a storm: it makes pods and deletes them as planned, and writes down what it does before it asks for it."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import httpx

from tests.storm.plans import Delete, Plan, Resize
from tests.testbed.control_plane import NODE
from tests.testbed.edges import EdgeLog
from tests.testbed.lives import LIFE
from tests.testbed.rest import STRATEGIC_MERGE, Json, Rest

T = TypeVar("T")
#: On a pod: the number of its plan.
PLAN: Final = "testbed.hubquota.dev/plan"
#: Seconds until what the API server did not take is asked again.
_AGAIN: Final = 0.3
#: Calls at a time.
_IN_FLIGHT: Final = 16
#: The API server takes part of a request and refuses the rest: it will never take it.
_NEVER: Final = (httpx.codes.UNPROCESSABLE_ENTITY, httpx.codes.BAD_REQUEST, httpx.codes.FORBIDDEN)


class HubOfPlans:
    """One namespace's. Every call is made again until the API server has answered it."""

    def __init__(self, rest: Rest, namespace: str, log: EdgeLog) -> None:
        self._rest, self._path, self._log = rest, f"/api/v1/namespaces/{namespace}/pods", log
        self._slots = asyncio.Semaphore(_IN_FLIGHT)

    async def play(self, plans: Sequence[Plan]) -> None:
        """All plans, each at its time."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for plan in plans:
                group.create_task(self._chain(plan, begun + plan.at))

    async def _chain(self, plan: Plan, at: float) -> None:
        await asyncio.sleep(at - time.monotonic())
        for one in plan.chain():
            pod = await self._create(one)
            await self._act(one, pod)

    async def _act(self, plan: Plan, pod: Json) -> None:
        born = time.monotonic()
        for place, act in enumerate(plan.acts, 1):
            await asyncio.sleep(born + act.after - time.monotonic())
            if isinstance(act, Delete):
                await self._delete(pod, act)
            else:
                await self._resize(pod, act, place)

    async def _create(self, plan: Plan) -> Json:
        """Make the pod, which waits for the name to be free. An answer that got lost is asked for."""
        path = f"{self._path}/{plan.name}"

        async def created() -> Json | None:
            there = await self._rest.find(path)
            if there is None:
                there = await self._rest.call("POST", self._path, _body(plan))
            return there if there["metadata"]["annotations"].get(PLAN) == str(plan.number) else None

        while (pod := await self._until_answered(created)) is None:
            await asyncio.sleep(_AGAIN)
        self._log.note(pod, "created", plan=plan.number)
        return pod

    async def _delete(self, pod: Json, act: Delete) -> None:
        """The end of a pod that is deleted at once is its deletion, so it is noted before."""
        event = "deleting" if act.grace else "forcing"
        self._log.note(pod, event, grace=act.grace)
        options = {"gracePeriodSeconds": act.grace, "preconditions": {"uid": pod["metadata"]["uid"]}}
        await self._until_answered(lambda: self._rest.call("DELETE", self._path_of(pod), options), gone=True)
        self._log.told(pod, event)

    async def _resize(self, pod: Json, act: Resize, number: int) -> None:
        self._log.note(pod, "asking", number, memory=act.memory)
        requests = {"resources": {"requests": {"memory": f"{act.memory}Mi"}}}
        body = {"metadata": {"uid": pod["metadata"]["uid"]}}
        body |= {"spec": {"containers": [{"name": "notebook"} | requests]}}
        path = f"{self._path_of(pod)}/resize"
        taken = await self._until_answered(lambda: self._rest.call("PATCH", path, body, STRATEGIC_MERGE), gone=True)
        if taken is not None:
            self._log.told(pod, "asking", number)

    def _path_of(self, pod: Json) -> str:
        return f"{self._path}/{pod['metadata']['name']}"

    async def _until_answered(self, call: Callable[[], Awaitable[T]], *, gone: bool = False) -> T | None:
        """The answer; None where the pod is ``gone``, or cannot be what is asked for. Raises for another refusal."""
        while True:
            try:
                async with self._slots:
                    return await call()
            except httpx.HTTPStatusError as refused:
                status = refused.response.status_code
                if gone and (status == httpx.codes.NOT_FOUND or "UID in precondition" in str(refused)):
                    return None
                if gone and status == httpx.codes.UNPROCESSABLE_ENTITY:
                    return None
                if status in _NEVER:
                    raise
            except httpx.HTTPError:
                pass
            await asyncio.sleep(_AGAIN)


def _body(plan: Plan) -> Json:
    marks = {
        "hub.jupyter.org/username": plan.user,
        "hub.jupyter.org/servername": plan.server,
        "hubquota.dev/groups": json.dumps(plan.groups),
        LIFE: plan.life.annotation(),
        PLAN: str(plan.number),
    }
    requests = {"memory": f"{plan.memory}Mi", "cpu": f"{plan.cpu}m"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": plan.name, "annotations": marks},
        "spec": {
            "schedulerName": NODE,
            "terminationGracePeriodSeconds": 30,
            "containers": [{"name": "notebook", "image": "i", "resources": {"requests": requests}}],
        },
    }
