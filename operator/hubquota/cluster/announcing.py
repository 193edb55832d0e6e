"""Events of our own: what an admin should see beside the object that it is about, each once."""

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from hubquota.cluster.api import Api, ApiError, Json
from hubquota.domain.history import PodRecord
from hubquota.domain.pods import rfc3339
from hubquota.domain.windows import SECOND
from hubquota.resources.wording import printable

logger = logging.getLogger(__name__)

REPORTER: Final = "hubquota-operator"
NOT_METERED: Final = "NotMetered"
NOT_KEPT: Final = "NotKept"
#: Seconds until one is tried again.
_RETRY: Final = 2
_THERE: Final = 409
#: Not asked at all, unknown to it, without rights for now, or too much at once.
_LATER: Final = (0, 401, 403, 429)
#: Events that may wait; past that the oldest are not told, the log has them all.
_MOST: Final = 1000
#: Bytes of a message, and characters of a name: an Event's own is at most 253 long.
_LONGEST: Final = 1024
_NAME: Final = 200


class Announcer:
    """Writes into one hub's namespace, off the path of everything else. ``clock`` gives microseconds since 1970."""

    def __init__(self, api: Api, namespace: str, clock: Callable[[], int]) -> None:
        self._api, self._namespace, self._clock = api, namespace, clock
        self._waiting: deque[Json] = deque(maxlen=_MOST)
        self._woken = asyncio.Event()

    def warn(self, pod: str, uid: str, reason: str, message: str) -> None:
        """Tell of a pod that something is wrong with it. Of one pod a reason is told once, also after a restart."""
        about = {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": self._namespace, "uid": uid}
        self._waiting.append(self._event(about, reason, message))
        self._woken.set()

    def not_kept(self, pod: PodRecord, why: str) -> None:
        """Tell of a pod that it is metered, but that the ledger does not take it."""
        self.warn(pod.name, pod.uid, NOT_KEPT, f"pod {self._namespace}/{pod.name} is not kept in the ledger: {why}")

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._waiting:
                event = self._waiting.popleft()
                if not await self._written(event):
                    if len(self._waiting) < _MOST:
                        self._waiting.appendleft(event)
                    await asyncio.sleep(_RETRY)

    async def _written(self, event: Json) -> bool:
        """Whether it is done with: also where it was told before, or cannot be told at all."""
        try:
            await self._api.create(f"/api/v1/namespaces/{self._namespace}/events", event)
        except ApiError as error:
            if error.status in _LATER or error.status >= 500:
                return False
            if error.status != _THERE:
                logger.warning("hub=%s event=%s is not written: %s", self._namespace, event["metadata"]["name"], error)
        return True

    def _event(self, about: Json, reason: str, message: str) -> Json:
        digest = hashlib.sha256(f"{about['uid']} {reason}".encode()).hexdigest()[:16]
        at = rfc3339(self._clock() // SECOND * SECOND)
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{about['name'][:_NAME].rstrip('.-')}.{digest}", "namespace": self._namespace},
            "involvedObject": about,
            "reason": reason,
            "message": printable(message)[:_LONGEST],
            "type": "Warning",
            "source": {"component": REPORTER},
            "reportingComponent": REPORTER,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
