"""One hub: what is known of its pods, users and policies, and what its statuses should say."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from hubquota.cluster import expiry, members, policies
from hubquota.cluster.api import Api, ApiError, Json
from hubquota.cluster.members import Members, Seen
from hubquota.cluster.observing import USERNAME, Poison, PoisonPod, Sight, observed, running_before_placement
from hubquota.cluster.policies import Stored, Tally
from hubquota.cluster.room import Room
from hubquota.cluster.scheduling import Key, Scheduler
from hubquota.cluster.writing import Writer
from hubquota.domain.history import Membership, PodRecord, PolicyRevision
from hubquota.domain.metering import Meter
from hubquota.domain.pods import micros, rfc3339
from hubquota.domain.policy import Policy
from hubquota.ledger import Ledger
from hubquota.metrics import HubMetrics
from hubquota.resources.names import user_quota_name
from hubquota.resources.status import user_status

logger = logging.getLogger(__name__)

_INVALID: Final = 422
#: Characters of a name that no UserQuota can hold, in the log.
_SHOWN: Final = 60
#: No window reaches further back, in microseconds.
_REACH: Final = 400 * 86_400 * 1_000_000


class Hub:
    """One namespace. ``clock`` gives microseconds since 1970; ``most`` UserQuotas may be there."""

    def __init__(
        self,
        api: Api,
        ledger: Ledger,
        namespace: str,
        cluster: str,
        clock: Callable[[], int],
        most: int,
        metrics: HubMetrics,
    ) -> None:
        self._api, self._ledger, self._cluster, self._clock = api, ledger, cluster, clock
        self.namespace = namespace
        self.metrics = metrics
        self.room = Room(most, metrics)
        self._writer = Writer(api, namespace, metrics)
        self._meter = Meter(clock())
        self._stored: dict[str, Stored] = {}
        self._policies: dict[str, Policy] = {}
        self._window = 0
        self._members = Members(most)
        self._poison = Poison()
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
        async for policy in self._api.listing(self._writer.path("quotapolicies")):
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
        self.metrics.pods_metered.set(len(self._meter.open_uids()))
        self._meter.forget(asked - _REACH)
        self._poison.keep(present)
        self.synced_at = asked
        self.metrics.resync.set(asked / 1_000_000)

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
        kept = await self._ledger.record(records)
        self._concern(self._meter.take(kept))
        ended = {pod.uid for pod in kept if pod.end is not None}
        self.metrics.pods_metered.set(len((known | {pod.uid for pod in kept}) - ended))

    async def see_policy(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """A QuotaPolicy is there, changed or gone; all statuses that it may touch follow."""
        stored = policies.read(body)
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
        self._policies = policies.applied(self._stored.values())
        self._window = expiry.longest_window(self._policies.values())
        self.metrics.policies_applied.set(len(self._policies))
        self.metrics.policies_not_applied.set(len(self._stored) - len(self._policies))
        self._concern(self._members.users() | self._charged())
        self._tell_policies()

    async def see_user_quota(self, kind: str, body: Mapping[str, Any]) -> None:
        """A UserQuota is there, changed or gone. One that is not its user's, or broken, is ignored, and says so."""
        seen = members.read(body)
        if kind == "DELETED":
            self._lose(seen.name)
            return
        before = self._members.take(seen)
        self._mind_cap()
        if seen.ignored is not None:
            if (before is None or before.ignored != seen.ignored) and not seen.says_so():
                logger.warning("userquota=%s ignored: %s", seen.name, seen.ignored.message)
                self.scheduler.request(("ignored", seen.name))
            return
        if before is None or before.groups != seen.groups:
            at = self._clock() if seen.observed is None else seen.observed
            await self._ledger.record_membership(Membership(self.namespace, seen.user, seen.groups, at))
        if before is None or before.generation != seen.generation:
            self._concern([seen.user])

    def user_quotas_listed(self, names: Collection[str]) -> None:
        """These are all UserQuotas that there are: those that went unseen are gone, and whoever lacks one gets it."""
        for seen in self._members.all():
            if seen.name not in names:
                self._lose(seen.name)
        self._concern(user for user in self._charged() if self._members.of(user) is None)

    async def expire(self, retention: int) -> None:
        """Delete the UserQuotas without usage in any window, of users unseen for ``retention`` (microseconds).

        Raises ApiError.
        """
        now = self._clock()
        known = ((seen, self._traces(seen, now)) for seen in self._members.all() if seen.ignored is None)
        expired = [(s, traces) for s, traces in known if expiry.has_expired(traces, self._window, retention, now)]
        self.metrics.user_quotas_expired.inc(await expiry.delete(self._api, self._writer.path("userquotas"), expired))

    def _traces(self, seen: Seen, now: int) -> expiry.Traces:
        return expiry.Traces(seen.created, seen.observed, self._meter.last_held(seen.user, now))

    def _charged(self) -> set[str]:
        """Everybody with usage in a window of the policies, or who is using something now."""
        return {user for user in self._meter.users() if self._is_charged(user)}

    def _is_charged(self, user: str) -> bool:
        now = self._clock()
        return expiry.is_charged(self._meter.last_held(user, now), self._window, now)

    def _lose(self, name: str) -> None:
        """A UserQuota is gone; who has usage still gets a new one."""
        gone = self._members.named(name)
        self._members.drop(name, remember=gone is not None and self._is_charged(gone.user))
        self._mind_cap()
        if gone is None:
            return
        if gone.ignored is not None:  # it may have stood in another's place
            self._concern(user for user in self._charged() if user_quota_name(user) == name)
        elif self._is_charged(gone.user):
            self._concern([gone.user])
        else:
            self.scheduler.forget(("user", gone.user))
            self._tally.drop(gone.user)
            self._tell_policies(1)

    def _mind_cap(self) -> None:
        """Have it told when the hub comes to its cap of UserQuotas, and when there is room again."""
        if not self.room.count(len(self._members)):
            return
        self._tell_policies()
        if self.room.at_cap is not None:
            logger.error("hub=%s %s", self.namespace, policies.full(self.room.at_cap))
        else:
            logger.warning("hub=%s has room for UserQuotas again", self.namespace)
            self._concern(self.room.let_in())

    def _tell_policies(self, delay: float = 0) -> None:
        for name in self._stored:
            self.scheduler.request(("policy", name), delay)

    def _observed(self, sight: Sight) -> PodRecord | None:
        metadata = sight.pod["metadata"]
        user = (metadata.get("annotations") or {}).get(USERNAME)
        try:
            record = observed(sight, self._cluster)
        except PoisonPod as poison:
            if self._poison.is_news(metadata["uid"], str(poison)):
                logger.error("%s", poison)
                self.metrics.poison_pods.inc()
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
        if kind == "ignored":
            return await self._write_ignored(name)
        return await (self._write_user(name) if kind == "user" else self._write_policy(name))

    async def _write_user(self, user: str) -> float | None:
        name = user_quota_name(user)
        there = self._members.named(name)
        if (there is None and not self._is_charged(user)) or (there is not None and there.ignored is not None):
            return None
        now = self._clock()
        standing = self._meter.standing(tuple(self._policies.values()), user, self._members.groups(user), now)
        self._tally.take(user, standing)
        for state in standing.quotas:
            for policy in state.quota.policies:
                self.scheduler.request(("policy", policy.name), 1)
        running = [_running(pod) for pod in self._meter.running(user)]
        told = user_status(standing, running, 0 if there is None else there.generation)
        # A condition that no longer holds is taken away.
        if not await self._writer.status("userquotas", name, {"conditions": None} | told):
            # One that has just been deleted stays so, unless it counts.
            made = self._is_charged(user) and await self._make_user_quota(user)
            # At once: a hook takes one without a status for that of a user without usage.
            return await self._write_user(user) if made else None
        change = standing.next_change()
        return None if change is None else (change - self._clock()) / 1_000_000

    async def _write_ignored(self, name: str) -> float | None:
        seen = self._members.named(name)
        if seen is None or seen.ignored is None:
            return None
        try:
            await self._writer.status("userquotas", name, members.ignored_status(seen, self._clock()))
        except ApiError as error:
            if error.status != _INVALID:
                raise
            # Its spec is so wrong that the API server takes no status of it either.
            logger.warning("userquota=%s cannot be told so, only be deleted: %s", name, error)
        return None

    async def _write_policy(self, name: str) -> float | None:
        stored = self._stored.get(name)
        if stored is None:
            return None
        now = self._clock()
        active = self._policies.get(name)
        pool = self._meter.pool(active, now) if active is not None and active.shared else None
        told = policies.status(stored, active, self._tally.counts(name), pool, now, self.room.at_cap)
        same = {k: v for k, v in told.items() if k != "asOf"}
        if self._told.get(name) != same:
            await self._writer.status("quotapolicies", name, told)
            self._told[name] = same
        change = None if pool is None else pool.next_change(now)
        return None if change is None else (change - self._clock()) / 1_000_000

    async def _make_user_quota(self, user: str) -> bool:
        """Whether there is one now; at the cap the user is left out until there is room."""
        if self._members.full:
            self.room.leave_out(user)
            return False
        self._members.making(1)
        try:
            made = await self._writer.user_quota(self._members.to_make(user))
        except ApiError as error:
            if error.status != _INVALID:
                raise
            logger.error("user=%s cannot have a UserQuota: %s", user[:_SHOWN], error)
            return False
        finally:
            self._members.making(-1)
        if made is not None:
            await self.see_user_quota("ADDED", made)
        return True


def _running(pod: PodRecord) -> Json:
    allocation = {s.resource: str(s.request) for s in pod.segments if s.end is None and s.resource != "servers"}
    told: Json = {"pod": pod.name, "since": rfc3339(pod.scheduled), "allocation": allocation}
    return told if pod.server is None else told | {"server": pod.server}
