"""Writes to the objects of one hub: statuses, and the UserQuotas of those who have none."""

import logging
from collections.abc import Sequence
from typing import Final

from hubquota.cluster.api import OURS, Api, ApiError, Json
from hubquota.cluster.members import Seen
from hubquota.domain.pods import rfc3339
from hubquota.metrics import HubMetrics

logger = logging.getLogger(__name__)

_MISSING: Final = 404
_CONFLICT: Final = 409
_INVALID: Final = 422


class Writer:
    """Writes into one namespace."""

    def __init__(self, api: Api, namespace: str, metrics: HubMetrics) -> None:
        self._api, self._namespace, self._metrics = api, namespace, metrics

    async def status(self, plural: str, name: str, told: Json) -> bool:
        """Merge into a status; False: the object is not there. Raises ApiError."""
        try:
            await self._api.patch(f"{self.path(plural)}/{name}/status", {"status": told})
        except ApiError as error:
            if error.status != _MISSING:
                raise
            return False
        self._metrics.written[plural].inc()
        return True

    async def tell(self, plural: str, name: str, told: Json) -> None:
        """Write the status of an object that may be so wrong that the API server takes no status of it either.

        Raises ApiError.
        """
        try:
            await self.status(plural, name, told)
        except ApiError as error:
            if error.status != _INVALID:
                raise
            logger.warning("%s=%s cannot be told what is wrong, only be deleted: %s", plural, name, error)

    async def groups(self, seen: Seen, groups: Sequence[str], at: int) -> bool:
        """Write the groups that the hub told of a user at ``at``, in microseconds, into the UserQuota as it was seen.

        False: somebody else wrote since, who may know better, or it is gone. Raises ApiError.
        """
        spec = {"groups": list(groups), "groupsObservedAt": rfc3339(at)}
        body = {"metadata": {"uid": seen.uid, "resourceVersion": seen.version}, "spec": spec}
        try:
            await self._api.patch(f"{self.path('userquotas')}/{seen.name}", body)
        except ApiError as error:
            if error.status not in (_MISSING, _CONFLICT):
                raise
            return False
        return True

    async def user_quota(self, body: Json) -> Json | None:
        """Make a UserQuota; None: somebody else has made it. Raises ApiError."""
        try:
            return await self._api.create(self.path("userquotas"), body)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            return None

    def path(self, plural: str) -> str:
        """Where objects of a kind are."""
        return f"{OURS}/namespaces/{self._namespace}/{plural}"
