"""Which namespaces are hubs: those that the settings name, or those that carry a label, as it comes and goes."""

import asyncio
import logging
from typing import Final

from hubquota.cluster.api import OURS, Api, ApiError, own_namespace
from hubquota.settings import Settings

logger = logging.getLogger(__name__)

_WRONG: Final = 400
#: Forbidden; and not there: neither are the CRDs then.
_UNREADABLE: Final = (403, 404)
#: What is read of a hub, so what must be readable before it can be served.
_READ: Final = (
    "{ours}/namespaces/{hub}/quotapolicies",
    "{ours}/namespaces/{hub}/userquotas",
    "/api/v1/namespaces/{hub}/pods",
)


async def look_into(api: Api, hub: str) -> None:
    """Read one of each kind that is needed to serve a hub. Raises ApiError."""
    for path in _READ:
        await api.get(path.format(ours=OURS, hub=hub), limit="1")


class Namespaces:
    """Of one operator. Namespaces that it may not read are left out, and told of once."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self._api, self._selector, self._interval = api, settings.hub_selector, settings.hub_selector_interval
        self._named = () if self._selector else settings.hub_namespaces or (own_namespace(),)
        self._left_out: set[str] = set()
        self._told = False

    async def some(self) -> tuple[str, ...]:
        """The hubs that there are; waits until there is one. Raises ApiError where the label's selector is wrong."""
        while not (found := await self._tried()):
            if not self._told:
                logger.warning("waits for a namespace with the label %s that it may read", self._selector)
                self._told = True
            await asyncio.sleep(self._interval)
        self._told = False
        return found

    async def changed(self, served: tuple[str, ...]) -> None:
        """Wait until the hubs are others than ``served``; for ever where they are named."""
        while self._selector is None or await self._tried() in (None, served):  # noqa: ASYNC110 - it is not ours to tell
            await asyncio.sleep(self._interval)

    async def found(self) -> tuple[str, ...]:
        """The hubs that there are now. Raises ApiError."""
        if self._selector is None:
            return self._named
        listed = self._api.listing("/api/v1/namespaces", labelSelector=self._selector)
        alive = [n async for n in listed if (n.get("status") or {}).get("phase") != "Terminating"]
        names = sorted(str(namespace["metadata"]["name"]) for namespace in alive)
        return tuple([name for name in names if await self._readable(name)])

    async def _tried(self) -> tuple[str, ...] | None:
        """The hubs that there are now; None: that cannot be said."""
        try:
            return await self.found()
        except ApiError as fault:
            if fault.status == _WRONG:
                raise
            logger.warning("namespaces are not listed, again in %s s: %s", self._interval, fault)
            return None

    async def _readable(self, hub: str) -> bool:
        try:
            await look_into(self._api, hub)
        except ApiError as fault:
            if fault.status not in _UNREADABLE:
                raise
            if hub not in self._left_out:
                logger.warning("hub=%s is left out, for it cannot be read: %s", hub, fault)
            self._left_out.add(hub)
            return False
        self._left_out.discard(hub)
        return True
