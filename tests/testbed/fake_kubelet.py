"""A scheduler and kubelet for pods that need not run anything: they are placed, answer HTTP, restart, finish and go.

Its log is the truth that tests compare with: each line is written before the API server is told. Pods are told what to
do by the annotation ``testbed.hubquota.dev/do``: ``restart`` or ``finish``. Run it as
``python -m tests.testbed.fake_kubelet KUBECONFIG NAMESPACE LOG [SECONDS]``, the seconds that it takes to pull an image.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import httpx

from tests.testbed.control_plane import NODE
from tests.testbed.rest import Json, Rest

DO: Final = "testbed.hubquota.dev/do"
_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-JupyterHub-Version: 6.1.1\r\nConnection: close\r\n"
    b"Content-Length: 28\r\n\r\n<h1>Your server is here</h1>"
)
_PORT: Final = 8888


class FakeKubelet:
    """All pods of one namespace, on one node; a real cluster's controllers want it to be there (fake_node.py)."""

    def __init__(self, rest: Rest, namespace: str, log: Path, pull: float = 0) -> None:
        self._rest, self._path, self._log = rest, f"/api/v1/namespaces/{namespace}/pods", log
        self._pull = pull
        self._servers: dict[str, asyncio.Server] = {}
        self._done: dict[str, set[str]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Watch, and watch again when the API server comes back."""
        while True:
            with contextlib.suppress(httpx.HTTPError, json.JSONDecodeError):
                async for change in self._rest.watch(self._path):
                    self._see(change["type"], change["object"])
            await asyncio.sleep(0.2)

    def _see(self, kind: str, pod: Json) -> None:
        """One thing at a time for each pod, in order; the API server may be away meanwhile."""
        uid = pod["metadata"]["uid"]
        before = self._tasks.get(uid)

        async def next_step() -> None:
            if before is not None:
                await before
            await _until_told(lambda: self._handle(kind, pod))

        self._tasks[uid] = asyncio.create_task(next_step())

    async def _handle(self, kind: str, pod: Json) -> None:
        meta = pod["metadata"]
        done = self._done.setdefault(meta["uid"], set())
        asked = (meta.get("annotations") or {}).get(DO, "")
        if kind == "DELETED":
            await self._close(meta["uid"])
            await self._once(done, "gone", lambda: self._gone(pod))
        elif "deletionTimestamp" in meta:
            await self._once(done, "delete", lambda: self._delete(pod))
        elif not pod["spec"].get("nodeName"):
            await self._once(done, "place", lambda: self._place(pod))
        elif asked:
            await self._once(done, asked, lambda: self._restart(pod) if asked == "restart" else self._finish(pod))

    async def _once(self, done: set[str], what: str, do: Callable[[], Awaitable[None]]) -> None:
        if what not in done:
            await do()
            done.add(what)

    async def _place(self, pod: Json) -> None:
        name = pod["metadata"]["name"]
        at = self._note(pod, "scheduled")
        # Before the binding: the API server then keeps the instant that is in our log.
        placed = {"type": "PodScheduled", "status": "True", "lastTransitionTime": at}
        await self._rest.status(f"{self._path}/{name}", {"conditions": [placed]})
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}}
        binding |= {"target": {"apiVersion": "v1", "kind": "Node", "name": NODE}}
        with contextlib.suppress(httpx.HTTPStatusError):  # bound already, before a restart of this program
            await self._rest.call("POST", f"{self._path}/{name}/binding", binding)
        await asyncio.sleep(self._pull)
        address = await self._serve(pod["metadata"]["uid"])
        started = _now()
        state = {"running": {"startedAt": started}}
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": started}
        told = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "startTime": at}
        await self._tell(pod, told | {"conditions": [ready]}, state, ready=True)

    async def _restart(self, pod: Json) -> None:
        """The container ends and starts again: the pod holds what it held all the while."""
        at = self._note(pod, "restarted")
        ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": at, "finishedAt": at}}
        await self._tell(pod, {}, ended, ready=False)
        await self._tell(pod, {}, {"terminated": None, "running": {"startedAt": _now()}}, ready=True, restarts=1)

    async def _finish(self, pod: Json) -> None:
        await self._close(pod["metadata"]["uid"])
        at = self._note(pod, "finished")
        ended = {"running": None, "terminated": {"exitCode": 0, "startedAt": at, "finishedAt": at}}
        await self._tell(pod, {"phase": "Succeeded"}, ended, ready=False)

    async def _delete(self, pod: Json) -> None:
        """As a kubelet does it: the containers end, this is told, then the object goes."""
        if (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            await self._finish(pod)
        name = pod["metadata"]["name"]
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        with contextlib.suppress(httpx.HTTPStatusError):
            await self._rest.call("DELETE", f"{self._path}/{name}", options)

    async def _gone(self, pod: Json) -> None:
        self._note(pod, "deleted")

    async def _tell(self, pod: Json, status: Json, state: Json, *, ready: bool, restarts: int = 0) -> None:
        names = [c["name"] for c in pod["spec"]["containers"]]
        common = {"image": "fake", "imageID": "fake", "ready": ready, "restartCount": restarts, "state": state}
        containers = [{"name": name} | common for name in names]
        await self._rest.status(f"{self._path}/{pod['metadata']['name']}", status | {"containerStatuses": containers})

    async def _serve(self, uid: str) -> str:
        """Answer on an address of this pod's own; Linux has all of 127.0.0.0/8."""
        one, two, three = hashlib.sha256(uid.encode()).digest()[:3]
        address = f"127.{one % 250 + 2}.{two}.{three % 250 + 2}"
        if uid not in self._servers:
            self._servers[uid] = await asyncio.start_server(_answer, address, _PORT)
        return address

    async def _close(self, uid: str) -> None:
        server = self._servers.pop(uid, None)
        if server is not None:
            server.close()
            await server.wait_closed()

    def _note(self, pod: Json, event: str) -> str:
        """Write to the log, and only then return the instant that may be told."""
        at = _now()
        meta = pod["metadata"]
        line = {"at": at, "event": event, "uid": meta["uid"], "pod": meta["name"]}
        with self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
        return at


def truth(log: Path) -> list[dict[str, Any]]:
    """The lines of a log."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


async def _until_told(step: Callable[[], Awaitable[None]]) -> None:
    """Try until the API server has taken it, or says that the pod is gone."""
    told = False
    while not told:
        try:
            await step()
            told = True
        except httpx.HTTPStatusError as refused:
            told = refused.response.status_code in (404, 409)
        except httpx.HTTPError:
            pass
        if not told:
            await asyncio.sleep(0.2)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await writer.drain()
    writer.close()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


async def _main(kubeconfig: str, namespace: str, log: str, pull: str = "0") -> None:
    async with Rest(Path(kubeconfig)) as rest:
        await FakeKubelet(rest, namespace, Path(log), float(pull)).run()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
