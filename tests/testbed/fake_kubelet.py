"""A scheduler and kubelet for pods that need not run anything: they are placed, answer HTTP, restart, finish and go.

Its log is the truth that tests compare with: each line is written before the API server is told. What it has told is
read from the objects, what has happened from the log, so it can be killed at any time and goes on where it was. Pods
are told what to do by the annotation ``testbed.hubquota.dev/do``: ``restart`` or ``finish``, or for all their life by
``testbed.hubquota.dev/life`` (lives.py). Run it as
``python -m tests.testbed.fake_kubelet KUBECONFIG NAMESPACE LOG [SECONDS]``, the seconds that it takes to pull an image.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

import httpx

from tests.testbed import telling
from tests.testbed.answering import Answers
from tests.testbed.control_plane import NODE
from tests.testbed.edges import EdgeLog, now, since, truth
from tests.testbed.lives import Life, Step
from tests.testbed.rest import Json, Rest

__all__ = ["DO", "FakeKubelet", "truth"]
DO: Final = "testbed.hubquota.dev/do"
#: Seconds until what the API server did not take is told again.
_AGAIN: Final = 0.2
#: Calls at a time, and the watch: kubelets are held back too, and who floods an API server leaves no room for others.
_AT_ONCE: Final = 11
#: A pod is gone that is not there so many times, so many seconds apart.
_LOOKS: Final = 3
_LOOK: Final = 0.5


class FakeKubelet:
    """All pods of one namespace, on one node; a real cluster's controllers want it to be there (fake_node.py)."""

    def __init__(self, rest: Rest, namespace: str, log: Path, pull: float = 0) -> None:
        self._rest, self._path = rest, f"/api/v1/namespaces/{namespace}/pods"
        self._log, self._pull = EdgeLog(log), pull
        self._answers = Answers()
        self._pods: dict[str, PodWorker] = {}
        self._missing: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Watch, and watch again when the API server comes back."""
        while True:
            with contextlib.suppress(httpx.HTTPError, json.JSONDecodeError):
                await self._follow()
            await asyncio.sleep(_AGAIN)

    async def _follow(self) -> None:
        """List, then watch from there until the connection ends."""
        listed = await self._rest.call("GET", self._path)
        for pod in listed["items"]:
            self._see("ADDED", pod)
        self._miss({pod["metadata"]["uid"] for pod in listed["items"]})
        async for change in self._rest.watch(self._path, listed["metadata"]["resourceVersion"]):
            self._see(change["type"], change["object"])

    def _miss(self, present: Collection[str]) -> None:
        """Pods have gone while nobody watched."""
        for uid, name in self._log.left().items():
            if uid not in present:
                missing = asyncio.create_task(self._missed(uid, name))
                self._missing.add(missing)
                missing.add_done_callback(self._missing.discard)

    async def _missed(self, uid: str, name: str) -> None:
        if not await really_gone(self._rest, f"{self._path}/{name}", uid):
            return
        if (worker := self._pods.get(uid)) is not None:
            worker.leave()
        else:
            self._log.note({"metadata": {"uid": uid, "name": name}}, "deleted")

    def _see(self, kind: str, pod: Json) -> None:
        if kind == "ERROR":
            return
        uid = pod["metadata"]["uid"]
        worker = self._pods.get(uid)
        if worker is None:
            worker = self._pods[uid] = PodWorker(self._rest, self._path, pod, self._log, self._answers, self._pull)
            worker.task = asyncio.create_task(worker.run())
            worker.task.add_done_callback(lambda _: self._pods.pop(uid, None))
        worker.see(pod, gone=kind == "DELETED")


async def really_gone(rest: Rest, path: str, uid: str) -> bool:
    """Whether a pod that was missed is still missed a little later, each time that the API server can say.

    One that has just been started, beside an etcd that has, was seen to know less than had been written.
    """
    for _ in range(_LOOKS):
        await asyncio.sleep(_LOOK)
        try:
            there = await rest.find(path)
        except httpx.HTTPError:
            return False  # it is missed again when there is a connection
        if there is not None and there["metadata"]["uid"] == uid:
            return False
    return True


class PodWorker:
    """One pod: what is due is noted, then told, one thing after the other."""

    def __init__(self, rest: Rest, path: str, pod: Json, log: EdgeLog, answers: Answers, pull: float) -> None:
        self._rest, self._path = rest, f"{path}/{pod['metadata']['name']}"
        self._pod, self._log, self._answers, self._pull = pod, log, answers, pull
        self._uid: str = pod["metadata"]["uid"]
        self._life = Life.of(pod)
        self._gone = False
        self._woken = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def see(self, pod: Json, *, gone: bool) -> None:
        """The API server tells how the pod is."""
        self._keep(pod)
        if gone:
            self.leave()
        self._woken.set()

    def _keep(self, pod: Json) -> None:
        """The newest sight of it: what a watch tells may be older than an answer to us, and the other way round."""
        if telling.version(pod) >= telling.version(self._pod):
            self._pod = pod

    def leave(self) -> None:
        """It is gone."""
        self._gone = True
        self._woken.set()

    async def run(self) -> None:
        """Until the pod is gone."""
        while not self._gone:
            self._woken.clear()
            try:
                wait = await self._step()
            except httpx.HTTPError as fault:
                refused = isinstance(fault, httpx.HTTPStatusError)
                wait = await self._looked_again() if refused else _AGAIN
            if not self._gone:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._woken.wait()
        await self._answers.close(self._uid)
        self._log.note(self._pod, "deleted")

    async def _looked_again(self) -> float:
        """The API server refused: the pod may be gone, or another have its name."""
        with contextlib.suppress(httpx.HTTPError):
            there = await self._rest.find(self._path)
            if there is not None and there["metadata"]["uid"] == self._uid:
                self._keep(there)
            elif await really_gone(self._rest, self._path, self._uid):
                self._gone = True
        return _AGAIN

    async def _step(self) -> float | None:
        """Do what is due first. Returns seconds until more is; None: nothing is unless the pod changes."""
        pod, life = self._pod, self._life
        if self._log.noted(self._uid, "lost"):
            return None
        if not pod["spec"].get("nodeName"):
            return await self._place() if life.placed and not telling.deleted(pod) else None
        if telling.deleted(pod):
            return await self._end()
        if telling.over(pod):
            self._confirm()
            return None
        if not life.started:
            return None
        if not telling.running(pod):
            return await self._start()
        return await self._live()

    async def _place(self) -> float:
        at = self._log.note(self._pod, "scheduled")
        # Before the binding: the API server then keeps the instant that is in our log.
        await self._tell(telling.placed(at))
        await self._rest.call("POST", f"{self._path}/binding", telling.binding(self._pod, NODE))
        self._log.told(self._pod, "scheduled")
        self._keep(await self._rest.call("GET", self._path))
        return 0

    async def _start(self) -> float:
        at = self._log.note(self._pod, "scheduled")
        self._log.told(self._pod, "scheduled")
        if (wait := self._pull - since(at)) > 0:
            return wait
        address = await self._answers.open(self._pod)
        await self._tell(telling.started(self._pod, at, now(), address))
        return 0

    async def _live(self) -> float | None:
        await self._answers.open(self._pod)
        if telling.resized(self._pod):
            return await self._resize()
        due = self._due()
        if due is None or due[0] > 0:
            return None if due is None else due[0]
        _, step = due
        if step is Step.LOSE:
            self._log.note(self._pod, "lost")
        elif step is Step.RESTART:
            await self._restart()
        else:
            await self._over(step)
        return 0

    def _due(self) -> tuple[float, Step] | None:
        """The next step, and the seconds until then; None: there is none."""
        asked = (self._pod["metadata"].get("annotations") or {}).get(DO)
        restarts = telling.restarts(self._pod)
        if asked and not (asked == Step.RESTART and restarts):
            return 0, Step(asked)
        placed = since(self._log.note(self._pod, "scheduled"))
        done = 0
        for after, step in self._life.steps:
            done += step is Step.RESTART
            if step is not Step.RESTART or done > restarts:
                return after - placed, step
        return None

    async def _restart(self) -> None:
        """The container ends and starts again: the pod holds what it held all the while."""
        number = telling.restarts(self._pod) + 1
        at = self._log.note(self._pod, "restarted", number)
        await self._tell(telling.crashed(self._pod, at))
        await self._tell(telling.restarted(self._pod, now(), number))
        self._log.told(self._pod, "restarted", number)

    async def _resize(self) -> float:
        """What is in force follows what is wanted."""
        generation, wanted = telling.generation(self._pod), telling.wanted(self._pod)
        self._log.note(self._pod, "resized", generation, requests=wanted)
        await self._tell(telling.in_force(self._pod))
        self._log.told(self._pod, "resized", generation)
        return 0

    async def _over(self, step: Step) -> None:
        """The containers end for good."""
        event = "stopped" if step is Step.REJECT else "finished"
        at = self._log.note(self._pod, event)
        await self._answers.close(self._uid)
        started = telling.running(self._pod)
        await self._tell(telling.ended(self._pod, step, at) if started else telling.never_ran(self._pod))
        self._confirm()

    def _confirm(self) -> None:
        """The API server has the end."""
        for event in ("finished", "stopped"):
            self._log.told(self._pod, event)

    async def _end(self) -> float | None:
        """As a kubelet does it: the containers end, this is told, then the object goes."""
        if not telling.over(self._pod):
            if (wait := self._life.takes - since(telling.asked_to_go(self._pod))) > 0:
                return wait
            await self._over(Step.FINISH if telling.running(self._pod) else Step.REJECT)
        self._confirm()
        self._log.note(self._pod, "removing")
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._uid}}
        left = await self._rest.call("DELETE", self._path, options)
        self._gone = not left.get("metadata", {}).get("finalizers")  # who has one lets it go later
        return None

    async def _tell(self, status: Json) -> None:
        self._keep(await self._rest.status(self._path, status, self._uid))


async def _main(kubeconfig: str, namespace: str, log: str, pull: str = "0") -> None:
    async with Rest(Path(kubeconfig), _AT_ONCE) as rest:
        await FakeKubelet(rest, namespace, Path(log), float(pull)).run()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
