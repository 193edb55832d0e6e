"""One hub: what is known of its pods, users and policies, and what its statuses should say."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from hubquota.cluster.api import OURS, Api, ApiError, Json
from hubquota.cluster.observing import USERNAME, PoisonPod, Sight, observed, running_before_placement
from hubquota.cluster.policies import Stored, Tally, applied, read, status
from hubquota.cluster.scheduling import Key, Scheduler
from hubquota.domain.history import Membership, PodRecord, PolicyRevision
from hubquota.domain.metering import Meter
from hubquota.domain.pods import micros, rfc3339
from hubquota.domain.policy import Policy
from hubquota.ledger import Ledger
from hubquota.resources.names import user_quota_name
from hubquota.resources.status import user_status

logger = logging.getLogger(__name__)

_MISSING: Final = 404
_CONFLICT: Final = 409
#: No window reaches further back, in microseconds.
_REACH: Final = 400 * 86_400 * 1_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """A user as their UserQuota's spec has them. ``generation`` 0: there is no UserQuota yet."""

    groups: frozenset[str] = frozenset()
    generation: int = 0


class Hub:
    """One namespace. ``clock`` gives microseconds since 1970."""

    def __init__(
        self, api: Api, ledger: Ledger, namespace: str, cluster: str, clock: Callable[[], int], most: int
    ) -> None:
        self._api, self._ledger, self._cluster, self._clock, self._most = api, ledger, cluster, clock, most
        self.namespace = namespace
        self._meter = Meter(clock())
        self._stored: dict[str, Stored] = {}
        self._policies: dict[str, Policy] = {}
        self._members: dict[str, Member] = {}
        self._tally = Tally()
        self._told: dict[str, Json] = {}
        self.scheduler = Scheduler(self._write)
        self.synced_at: int | None = None
        """When the pods were last listed and compared with the ledger; None: not yet."""

    def now(self) -> int:
        """Microseconds since 1970, by this hub's clock."""
        return self._clock()

    async def start(self) -> None:
        """Take up the policies and what the ledger has, and compare it with the cluster.

        All before the first status is written: one that does not know the policies yet would let everybody launch.
        """
        async for policy in self._api.listing(self._path("quotapolicies")):
            await self.see_policy("ADDED", policy)
        now = self._clock()
        self._meter = Meter(await self._ledger.covered_since(self.namespace, now))
        async for pod in self._ledger.pods_since(self.namespace, now - _REACH):
            self._meter.take([pod])
        await self.resync()

    async def resync(self) -> None:
        """List all pods, take in what is new, and end those that are gone unseen (kopf tells of no deletion it missed).

        Raises ApiError or SQLAlchemyError; nothing is ended then.
        """
        asked = self._clock()
        present: set[str] = set()
        sights = []
        async for pod in self._api.listing(f"/api/v1/namespaces/{self.namespace}/pods"):
            present.add(pod["metadata"]["uid"])
            sights.append(Sight(pod, self._clock()))
        await self.see(sights)
        ended = await self._ledger.end_missing(self.namespace, present, asked, self._clock())
        for gone in ended:
            logger.warning(
                "pod=%s user=%s ended unseen, estimated end=%s", gone.name, gone.user, rfc3339(gone.finished or 0)
            )
        self._concern(self._meter.take(ended))
        self._meter.forget(asked - _REACH)
        self.synced_at = asked

    async def see(self, sights: Sequence[Sight]) -> None:
        """Take in sights of pods, and have the statuses of whom they concern written."""
        records = [record for sight in sights if (record := self._observed(sight)) is not None]
        known = self._meter.open_uids()
        for record in records:
            if record.uid not in known and record.end is None:
                logger.info("pod=%s user=%s holds since %s", record.name, record.user, rfc3339(record.scheduled))
            elif record.uid in known and record.end is not None:
                logger.info(
                    "pod=%s user=%s ended %s (%s)", record.name, record.user, rfc3339(record.end.at), record.end.how
                )
        self._concern(self._meter.take(await self._ledger.record(records)))

    async def see_policy(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """A QuotaPolicy is there, changed or gone; all statuses that it may touch follow."""
        stored = read(body)
        before = self._stored.get(stored.name)
        if kind == "DELETED":
            self._stored.pop(stored.name, None)
            self._tally.forget(stored.name)
            self.scheduler.forget(("policy", stored.name))
            await self._ledger.end_policy(stored.uid, self._clock())
        else:
            self._stored[stored.name] = stored
            if before and (before.uid, before.generation) == (stored.uid, stored.generation):
                return  # our own status, written
            revision = PolicyRevision(
                stored.uid, self.namespace, stored.name, stored.generation, stored.spec, self._clock()
            )
            await self._ledger.record_policy_revision(revision)
        logger.info(
            "policy=%s generation=%s %s",
            stored.name,
            stored.generation,
            "deleted" if kind == "DELETED" else stored.reason,
        )
        self._policies = applied(self._stored.values())
        self._concern(self._meter.users() | self._members.keys())
        for name in self._stored:
            self.scheduler.request(("policy", name))

    async def see_user_quota(self, kind: str, body: Mapping[str, Any]) -> None:
        """A UserQuota is there, changed or gone. One whose name is not its user's is ignored."""
        metadata, spec = body["metadata"], body["spec"]
        user = spec["user"]
        if metadata["name"] != user_quota_name(user):
            logger.warning(
                "userquota=%s ignored: the UserQuota of this user is %s", metadata["name"], user_quota_name(user)
            )
            return
        if kind == "DELETED":
            self._members[user] = replace(self._members.get(user, Member()), generation=0)
            if user in self._meter.users():
                self._concern([user])
            return
        member = Member(frozenset(spec.get("groups") or ()), metadata.get("generation", 1))
        before = self._members.get(user)
        self._members[user] = member
        if before is None or before.groups != member.groups:
            at = micros(spec["groupsObservedAt"]) if "groupsObservedAt" in spec else self._clock()
            await self._ledger.record_membership(Membership(self.namespace, user, member.groups, at))
        if before is None or before.generation != member.generation:
            self._concern([user])

    def _observed(self, sight: Sight) -> PodRecord | None:
        metadata = sight.pod["metadata"]
        user = (metadata.get("annotations") or {}).get(USERNAME)
        try:
            record = observed(sight, self._cluster)
        except PoisonPod as poison:
            logger.error("%s", poison)
            return None
        if record is None and user:
            if sight.gone or not running_before_placement(sight.pod):
                self._meter.drop(user, metadata["uid"])
            else:
                self._meter.expect(user, metadata["uid"], micros(metadata["creationTimestamp"]))
            self._concern([user])
        return record

    def _concern(self, users: Iterable[str]) -> None:
        """Have the statuses of users, and of the pools they may charge, written."""
        concerned = False
        for user in users:
            self.scheduler.request(("user", user))
            concerned = True
        if concerned:
            for policy in self._policies.values():
                if policy.shared:
                    self.scheduler.request(("policy", policy.name))

    async def _write(self, key: Key) -> float | None:
        kind, name = key
        return await (self._write_user(name) if kind == "user" else self._write_policy(name))

    async def _write_user(self, user: str) -> float | None:
        now = self._clock()
        member = self._members.get(user, Member())
        standing = self._meter.standing(tuple(self._policies.values()), user, member.groups, now)
        self._tally.take(user, standing)
        for state in standing.quotas:
            for policy in state.quota.policies:
                self.scheduler.request(("policy", policy.name), 1)
        running = [_running(pod) for pod in self._meter.running(user)]
        if not await self._patched(
            "userquotas", user_quota_name(user), user_status(standing, running, member.generation)
        ):
            if len(self._members) >= self._most and user not in self._members:
                logger.error("user=%s has no UserQuota: the hub is at its cap of %s", user, self._most)
                return None
            await self._make_user_quota(user)
            return 0
        change = standing.next_change()
        return None if change is None else (change - self._clock()) / 1_000_000

    async def _write_policy(self, name: str) -> float | None:
        stored = self._stored.get(name)
        if stored is None:
            return None
        now = self._clock()
        active = self._policies.get(name)
        pool = self._meter.pool(active, now) if active is not None and active.shared else None
        told = status(stored, active, self._tally.counts(name), pool, now)
        same = {k: v for k, v in told.items() if k != "asOf"}
        if self._told.get(name) != same:
            await self._patched("quotapolicies", name, told)
            self._told[name] = same
        change = None if pool is None else pool.next_change(now)
        return None if change is None else (change - self._clock()) / 1_000_000

    async def _patched(self, plural: str, name: str, told: Json) -> bool:
        """Write a status; False: the object is not there."""
        try:
            await self._api.patch(f"{self._path(plural)}/{name}/status", {"status": told})
        except ApiError as error:
            if error.status != _MISSING:
                raise
            return False
        return True

    async def _make_user_quota(self, user: str) -> None:
        body: Json = {
            "apiVersion": "hubquota.dev/v1alpha1",
            "kind": "UserQuota",
            "metadata": {"name": user_quota_name(user)},
            "spec": {"user": user},
        }
        try:
            await self._api.create(self._path("userquotas"), body)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise

    def _path(self, plural: str) -> str:
        return f"{OURS}/namespaces/{self.namespace}/{plural}"


def _running(pod: PodRecord) -> Json:
    allocation = {s.resource: str(s.request) for s in pod.segments if s.end is None and s.resource != "servers"}
    told: Json = {"pod": pod.name, "since": rfc3339(pod.scheduled), "allocation": allocation}
    return told if pod.server is None else told | {"server": pod.server}
