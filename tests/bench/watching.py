"""How quickly kopf hands on what it watches, beside a bare watch of the same pods in the same run.

``python -m tests.bench.watching kopf|bare KUBECONFIG FILE COUNT`` is one who watches: it ends when it has heard of so
many changes, and writes when each came, and what it took, into FILE.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import kopf

from hubquota.cluster.handlers import settings
from tests.bench.filling import NAMESPACE
from tests.bench.history import Hub
from tests.bench.serving import cluster
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import ROOT
from tests.testbed.rest import MERGE, Rest

_PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
_SENT: Final = "hubquota.dev/sent"
#: Pods, and changes of them a second and in all.
_POD_COUNT: Final = 500
_RATES: Final = (100, 200)
_SECONDS: Final = 20
_WAYS: Final = ("bare", "kopf")


def run(_hub: Hub) -> bool:
    """Print what each way took, at each rate."""
    print(f"watching: changes of {_POD_COUNT} pods for {_SECONDS} s, told to a bare watch and to kopf at the same time")
    with tempfile.TemporaryDirectory(prefix="hubquota-bench-") as name, cluster(Path(name)) as api:
        asyncio.run(_make(api))
        for rate in _RATES:
            _compare(api, Path(name), rate)
    return True


def _compare(api: ControlPlane, folder: Path, rate: int) -> None:
    count = rate * _SECONDS
    files = {way: folder / f"{way}-{rate}.json" for way in _WAYS}
    watching = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.bench.watching", way, str(api.kubeconfig), str(file), str(count)], cwd=ROOT
        )
        for way, file in files.items()
    ]
    try:
        _wait(lambda: all(file.with_suffix(".ready").exists() for file in files.values()))
        asyncio.run(_change(api, rate, count))
        for process in watching:
            process.wait(120)
    finally:
        for process in watching:
            process.kill()
    for way, file in files.items():
        told = json.loads(file.read_text())
        found = quantiles(told["delays"], n=100)
        each = 1000 * told["cpu"] / count
        print(
            f"  {rate} a second, {way}: p50 {found[49]:.0f} ms, p99 {found[98]:.0f} ms after it was sent; "
            f"{each:.2f} ms of CPU a change, so {1000 / each:,.0f} a second at most; {told['memory']} MiB"
        )


async def _make(api: ControlPlane) -> None:
    async with Rest(api.kubeconfig) as rest:
        for n in range(_POD_COUNT):
            spec = {"containers": [{"name": "notebook", "image": "i"}]}
            await rest.call(
                "POST", _PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{n}"}, "spec": spec}
            )


async def _change(api: ControlPlane, rate: int, count: int) -> None:
    async with Rest(api.kubeconfig) as rest:
        began, tasks = time.monotonic(), set()
        for n in range(count):
            await asyncio.sleep(max(0, began + n / rate - time.monotonic()))
            tasks.add(asyncio.create_task(_mark(rest, f"pod-{n % _POD_COUNT}", n)))
        await asyncio.gather(*tasks)


async def _mark(rest: Rest, name: str, n: int) -> None:
    body = {"metadata": {"annotations": {_SENT: f"{n} {time.time()}"}}}
    await rest.call("PATCH", f"{_PODS}/{name}", body, MERGE)


class _Heard:
    """What one who watches has heard of."""

    def __init__(self, file: Path, count: int) -> None:
        self._file, self._count = file, count
        self._delays: dict[str, float] = {}
        self.all = asyncio.Event()
        self._before = time.process_time()

    def hear(self, pod: Any) -> None:  # noqa: ANN401 - a pod, by whichever library
        sent = (pod["metadata"].get("annotations") or {}).get(_SENT)
        if sent is None or float(sent.split()[1]) < self._began:
            return
        number, at = sent.split()
        self._delays.setdefault(number, (time.time() - float(at)) * 1000)
        # Kopf leaves out what was overtaken by a later change of the same pod.
        if int(number) >= self._count - 1:
            self.all.set()

    def ready(self) -> None:
        self._began, self._before = time.time(), time.process_time()
        self._file.with_suffix(".ready").touch()

    def write(self) -> None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        told = {
            "delays": list(self._delays.values()),
            "cpu": time.process_time() - self._before,
            "memory": memory,
        }
        self._file.write_text(json.dumps(told))


async def _bare(kubeconfig: Path, heard: _Heard) -> None:
    async with Rest(kubeconfig) as rest:
        page = await rest.call("GET", f"{_PODS}?limit=1")
        heard.ready()
        async for change in rest.watch(_PODS, page["metadata"]["resourceVersion"]):
            heard.hear(change["object"])
            if heard.all.is_set():
                return


async def _by_kopf(kubeconfig: Path, heard: _Heard) -> None:
    os.environ["KUBECONFIG"] = str(kubeconfig)
    registry, ready, stop = kopf.OperatorRegistry(), asyncio.Event(), asyncio.Event()
    kopf.on.login(registry=registry)(kopf.login_with_kubeconfig)

    @kopf.on.event("v1", "pods", registry=registry)
    async def seen(event: kopf.RawEvent, **_: object) -> None:
        heard.hear(event["object"])

    operating = asyncio.ensure_future(
        kopf.operator(
            registry=registry,
            settings=settings(10),
            namespaces=[NAMESPACE],
            standalone=True,
            stop_flag=stop,
            ready_flag=ready,
        )
    )
    await ready.wait()
    heard.ready()
    await heard.all.wait()
    heard.write()
    stop.set()
    await operating


def _wait(check: Any, seconds: float = 60) -> None:  # noqa: ANN401 - a question without words
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError("who watches was not ready in time")
        time.sleep(0.05)


async def _watch(way: str, kubeconfig: Path, file: Path, count: int) -> None:
    heard = _Heard(file, count)
    await (_bare if way == "bare" else _by_kopf)(kubeconfig, heard)
    heard.write()


if __name__ == "__main__":
    asyncio.run(_watch(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])))
