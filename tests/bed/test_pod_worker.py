"""A pod of the fake kubelet sees what is newest, whoever tells it first."""

import asyncio
from pathlib import Path

from tests.testbed.answering import Answers
from tests.testbed.control_plane import NODE
from tests.testbed.edges import EdgeLog, now, truth
from tests.testbed.fake_kubelet import PodWorker
from tests.testbed.lives import LIFE, Life
from tests.testbed.patience import PATIENCE
from tests.testbed.rest import Json, Rest


class SlowAnswers(Rest):
    """An API server by which a pod is deleted while the answer that it has been placed is still on its way."""

    def __init__(self, pod: Json) -> None:
        self._pod = pod
        self.worker: PodWorker | None = None

    async def call(self, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> Json:
        if method == "DELETE":
            return {}
        if method == "POST":
            self._pod = self._now(4, self._pod["metadata"], spec=self._pod["spec"] | {"nodeName": NODE})
            return {}
        answer = self._pod
        deleted = self._pod["metadata"] | {"deletionTimestamp": now(), "deletionGracePeriodSeconds": 1}
        self._pod = self._now(5, deleted)
        assert self.worker is not None
        self.worker.see(self._pod, gone=False)
        return answer

    async def status(self, path: str, status: Json, uid: str = "") -> Json:
        version = int(self._pod["metadata"]["resourceVersion"]) + 1
        return self._now(version, self._pod["metadata"], status=self._pod["status"] | status)

    def _now(self, version: int, meta: Json, **parts: Json) -> Json:
        return self._pod | {"metadata": meta | {"resourceVersion": str(version)}} | parts


async def test_a_pod_that_is_deleted_while_it_is_placed_goes(tmp_path: Path) -> None:
    life = Life(started=False).annotation()
    meta = {"name": "p", "uid": "u", "resourceVersion": "1", "annotations": {LIFE: life}}
    pod: Json = {"metadata": meta, "spec": {"containers": [{"name": "notebook"}]}, "status": {"phase": "Pending"}}
    rest = SlowAnswers(pod)
    log = EdgeLog(tmp_path / "kubelet.jsonl")
    rest.worker = PodWorker(rest, "/pods", pod, log, Answers(), 0)
    async with asyncio.timeout(PATIENCE):
        await rest.worker.run()
    assert [line["event"] for line in truth(tmp_path / "kubelet.jsonl")] == [
        "scheduled",
        "stopped",
        "removing",
        "deleted",
    ]
