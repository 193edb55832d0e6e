"""UserQuotas listed and watched in pages, for kopf's own listing of 10,000 of them takes 400 MB."""

import asyncio
import logging
from typing import Final

from hubquota.cluster.api import OURS, Api, ApiError
from hubquota.cluster.hub import Hub

logger = logging.getLogger(__name__)

_GONE: Final = 410
#: Seconds between attempts: flat and short, so that an outage's end is noticed soon.
_RETRY: Final = 2


async def listed(api: Api, hub: Hub) -> str:
    """Take in all of them. Returns the version to watch from: one before the listing, so that nothing is missed."""
    before = await api.get(_path(hub), limit="1")
    names: set[str] = set()
    async for page in api.pages(_path(hub)):
        names |= {body["metadata"]["name"] for body in page}
        await hub.see_user_quotas(page)
    hub.user_quotas_listed(names)
    return str(before["metadata"]["resourceVersion"])


async def follow(api: Api, hub: Hub, version: str) -> None:
    """Take in every change since ``version``; list again where that is too old."""
    while True:
        try:
            if not version:
                version = await listed(api, hub)
            async for kind, body in api.watch(_path(hub), version):
                version = body["metadata"]["resourceVersion"]
                await hub.see_user_quota(kind, body)
        except ApiError as error:
            if error.status == _GONE:
                version = ""
                hub.relisted.set()  # the pods' watch cannot be taken up then either, and tells nothing if none is left
                continue
            logger.warning("hub=%s UserQuotas are not followed, again in %s s: %s", hub.namespace, _RETRY, error)
            await asyncio.sleep(_RETRY)


def _path(hub: Hub) -> str:
    return f"{OURS}/namespaces/{hub.namespace}/userquotas"
