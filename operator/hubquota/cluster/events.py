"""Events: hooks' are read, for they tell what was decided; our own tell admins what they should see."""

import asyncio
import logging
from typing import Final

from hubquota.cluster.api import OURS, Api, ApiError
from hubquota.cluster.hub import Hub
from hubquota.resources.decision import REPORTER

logger = logging.getLogger(__name__)

_GONE: Final = 410
#: Seconds between attempts: flat and short, so that an outage's end is noticed soon.
_RETRY: Final = 2
#: Seconds until a watch is taken up anew. Of Events the API server tells no bookmarks, so where nobody is refused a
#: watch says nothing at all, and would be given up as a dead one.
QUIET: Final = 60
#: The API server passes over all others, so that they cost the operator nothing. In the core group's Events the
#: reporting controller is called ``reportingComponent``.
SELECTOR: Final = (
    f"involvedObject.apiVersion={OURS.removeprefix('/apis/')},involvedObject.kind=UserQuota,"
    f"reportingComponent={REPORTER}"
)


async def follow(api: Api, hub: Hub) -> None:
    """Take in what hooks tell, from what there is on; list again where a watch cannot be taken up."""
    version, told = "", False
    path = f"/api/v1/namespaces/{hub.namespace}/events"
    while True:
        try:
            if not version:
                version = await _listed(api, hub, path)
            told = False
            async for kind, event in api.watch(path, version, fieldSelector=SELECTOR, timeoutSeconds=str(QUIET)):
                version = event["metadata"]["resourceVersion"]
                if kind != "DELETED":
                    hub.decisions.see([event])
        except ApiError as error:
            version = "" if error.status == _GONE else version
            if error.status != _GONE and not told:
                told = True
                logger.warning("hub=%s decisions are not followed, tried every %s s: %s", hub.namespace, _RETRY, error)
            await asyncio.sleep(0 if error.status == _GONE else _RETRY)


async def _listed(api: Api, hub: Hub, path: str) -> str:
    """Take in all that there are. Returns the version to watch from: one before the listing, so nothing is missed."""
    before = await api.get(path, limit="1", fieldSelector=SELECTOR)
    uids: set[str] = set()
    async for page in api.pages(path, fieldSelector=SELECTOR):
        uids |= {event["metadata"]["uid"] for event in page}
        hub.decisions.see(page)
    hub.decisions.listed(uids)
    return str(before["metadata"]["resourceVersion"])
