"""The labels of nodes that are worth keeping with a pod: which GPU, zone or price it had cannot be learnt later."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hubquota.cluster.api import LIST_OF_METADATA, METADATA, Api, ApiError

logger = logging.getLogger(__name__)

_PATH: Final = "/api/v1/nodes"
_GONE: Final = 410
#: Seconds between attempts: flat and short, so that an outage's end is noticed soon.
_RETRY: Final = 2


class Nodes:
    """What is known of all nodes' labels of these ``keys``. Nodes are told with their metadata alone."""

    def __init__(self, api: Api, keys: Sequence[str]) -> None:
        self._api, self._keys = api, keys
        self._labels: dict[str, Mapping[str, str]] = {}
        self._version = ""
        self._told = False

    def of(self, node: str | None) -> Mapping[str, str] | None:
        """A node's labels, those of ``keys`` that it has; None: it is not known, or no labels are wanted."""
        return None if node is None else self._labels.get(node)

    async def start(self) -> None:
        """Have them at hand before the first pod is seen; where they cannot be read, pods do without for now."""
        if self._keys:
            await self._attempted(self._list)

    async def run(self) -> None:
        """Follow them until cancelled."""
        while self._keys:
            if not await self._attempted(self._follow):
                await asyncio.sleep(_RETRY)
        await asyncio.Event().wait()

    async def _attempted(self, work: Any) -> bool:  # noqa: ANN401 - a coroutine function
        try:
            await work()
        except ApiError as error:
            if error.status == _GONE:
                self._version = ""
                return True
            if not self._told:
                self._told = True
                logger.warning("labels of nodes cannot be read, tried every %s s: %s", _RETRY, error)
            return False
        self._told = False
        return True

    async def _follow(self) -> None:
        if not self._version:
            await self._list()
        async for kind, node in self._api.watch(_PATH, self._version, accept=METADATA):
            self._version = node["metadata"]["resourceVersion"]
            if kind != "DELETED":  # of one that is gone, pods may still be told
                self._take(node)

    async def _list(self) -> None:
        before = await self._api.get(_PATH, accept=LIST_OF_METADATA, limit="1")
        self._labels = {}
        async for page in self._api.pages(_PATH, accept=LIST_OF_METADATA):
            for node in page:
                self._take(node)
        self._version = str(before["metadata"]["resourceVersion"])

    def _take(self, node: Mapping[str, Any]) -> None:
        has = node["metadata"].get("labels") or {}
        self._labels[node["metadata"]["name"]] = {key: has[key] for key in self._keys if key in has}
