"""One hub: what is known of its pods, users and policies, and what its statuses should say."""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy.exc import SQLAlchemyError

from hubquota.cluster import expiry, members, policies
from hubquota.cluster.announcing import Announcer
from hubquota.cluster.api import Api, ApiError, Json
from hubquota.cluster.believing import Believed, as_of, believed, digest, last_reflected, reflected
from hubquota.cluster.catalogue import Catalogue
from hubquota.cluster.decisions import Decisions
from hubquota.cluster.journal import Journal
from hubquota.cluster.members import Members, Seen
from hubquota.cluster.memberships import Memberships
from hubquota.cluster.nodes import Nodes
from hubquota.cluster.observing import Sight
from hubquota.cluster.pods import Pods
from hubquota.cluster.policies import Stored
from hubquota.cluster.policy_statuses import PolicyStatuses
from hubquota.cluster.roll import Roll
from hubquota.cluster.room import Room
from hubquota.cluster.scheduling import Key, Scheduler
from hubquota.cluster.writing import Writer
from hubquota.domain.history import PodRecord
from hubquota.domain.pods import rfc3339
from hubquota.domain.quotas import counted_at_once
from hubquota.domain.standing import Standing
from hubquota.domain.tally import Tally
from hubquota.ledger import Ledger
from hubquota.metrics import HubMetrics
from hubquota.resources.names import user_quota_name
from hubquota.resources.status import user_status

logger = logging.getLogger(__name__)

_INVALID: Final = 422
#: Characters of a name that no UserQuota can hold, in the log.
_SHOWN: Final = 60
#: Seconds between what concerns many users and the statuses of the policies that count them.
_COUNTED_AFTER: Final = 1.0
#: Users who are looked at before others get their turn on the loop.
_AT_ONCE: Final = 20


class Hub:
    """One namespace. ``clock`` gives microseconds since 1970; ``most`` UserQuotas may be there.

    ``buffer``: pods that may wait to be written while the ledger is away. ``nodes``: whose labels are kept with pods.
    """

    def __init__(
        self,
        api: Api,
        ledger: Ledger,
        namespace: str,
        cluster: str,
        clock: Callable[[], int],
        most: int,
        metrics: HubMetrics,
        buffer: int,
        nodes: Nodes,
    ) -> None:
        self._api, self._ledger, self._clock = api, ledger, clock
        self.namespace = namespace
        self.metrics = metrics
        self.relisted = asyncio.Event()
        """Set when a watch began anew: what was deleted since the last one is told by nobody."""
        self.watched = asyncio.Event()
        """Set when kopf tells of what happens."""
        self.started = asyncio.Event()
        """Set when what there was is taken up: what kopf tells waits for that."""
        self.served = asyncio.Event()
        """Set when all statuses are written that were due at the start: hooks may rely on them."""
        self.room = Room(most, metrics)
        self._writer = Writer(api, namespace, metrics)
        self.announcer = Announcer(api, namespace, clock)
        journal = (ledger, namespace, buffer, clock, metrics, self.learn, self._turned)
        self.journal = Journal(*journal, self.announcer.not_kept)
        pods = (api, ledger, namespace, cluster, clock, metrics, self.journal, self._counts_at_once)
        self._pods = Pods(*pods, self.announcer, nodes)
        self._policies = Catalogue(api, ledger, self.journal, namespace, clock, metrics)
        self._members = Members(most)
        self.memberships = Memberships(ledger, namespace, clock)
        self.decisions = Decisions(ledger, namespace, metrics, self._follow)
        self._tally = Tally()
        #: What each user's last status said of a launch, quota by quota: those for whom it flips are written first.
        self._verdicts: dict[str, Verdicts] = {}
        #: Users whose statuses do not reflect the policies yet.
        self._owed: set[str] = set()
        facts = (self._policies, self._members, self._pods, self._tally, self.decisions, self.room, self.journal)
        self._statuses = PolicyStatuses(*facts, self._writer, lambda: len(self._owed))
        #: Whether statuses are believed at the start, and whose are still to be compared.
        self._believes = False
        self._believed: dict[str, Believed] = {}
        self.scheduler = Scheduler(self._write)
        known = (self._members, self._writer, self.scheduler, self._policies.named_groups)
        self.roll = Roll(namespace, *known, clock, metrics)

    @property
    def synced_at(self) -> int | None:
        """When the pods were last listed and compared with the ledger; None: not yet."""
        return self._pods.synced_at

    def now(self) -> int:
        """Microseconds since 1970, by this hub's clock."""
        return self._clock()

    async def start(self) -> None:
        """Take up the policies and what the ledger has, and compare it with the cluster.

        All before the first status is written: one that does not know the policies yet would let everybody launch.
        """
        await self._policies.read()
        await self.decisions.start()
        await self._pods.start(self._policies.window)
        now = reflected(list(self._policies.stored.values()))
        self._believes = await last_reflected(self._api, self.namespace) == now
        self._tell_policies()

    def reflects(self) -> str | None:
        """Which policies all statuses reflect, as a digest; None: some are still to be written or compared."""
        return None if self._owed or self._believed else reflected(list(self._policies.stored.values()))

    async def verify(self) -> None:
        """Compare in full the statuses that were believed at the start, and have those written that differ."""
        while self._believed:
            for user in list(self._believed)[:_AT_ONCE]:
                told = self._believed.pop(user)
                seen = self._members.of(user)
                if seen is not None and seen.generation == told.generation:
                    self._compare(seen, told.as_of, told.digest)
            await asyncio.sleep(0)
        self._tell_policies()

    async def resync(self) -> None:
        """List all pods and compare them with what is known, and all policies. Raises ApiError or SQLAlchemyError."""
        for gone in await self._policies.gone():
            await self._take_policy("DELETED", gone)
        self._concern(await self._pods.resync())
        if await self._pods.look_back(self._policies.window):  # it could not be read when a policy wanted it
            await self._renew()

    def see(self, sights: Sequence[Sight]) -> None:
        """Take in sights of pods, and have the statuses of whom they concern written."""
        self._concern(self._pods.see(sights))

    async def learn(self, kept: Sequence[PodRecord]) -> None:
        """Take in what the ledger says of pods, which may be more than is known here. Raises SQLAlchemyError."""
        self._concern(await self._pods.learn(kept))

    def _turned(self) -> None:
        """The ledger is away, or back: the policies tell, and the heartbeat at once."""
        self._tell_policies()
        self.room.turned.set()

    async def see_policy(self, kind: str | None, body: Mapping[str, Any]) -> None:
        """A QuotaPolicy is there, changed or gone; all statuses that it may touch follow."""
        await self._take_policy(kind, policies.read(body))

    async def _take_policy(self, kind: str | None, stored: Stored) -> None:
        if not self._note_policy(kind, stored):
            return
        said = "deleted" if kind == "DELETED" else stored.reason
        logger.info("policy=%s generation=%s %s", stored.name, stored.generation, said)
        before = set(self._policies.applied.values())
        self._policies.apply()
        await self._look_back()
        if before != set(self._policies.applied.values()):
            self._owed |= self._members.users() | self._charged()
        self._tell_policies()
        await self._renew()

    async def see_user_quota(self, kind: str, body: Mapping[str, Any]) -> None:
        """A UserQuota is there, changed or gone. One that is not its user's, or broken, is ignored, and says so."""
        if kind == "DELETED":
            self._lose(body["metadata"]["name"])
        else:
            await self.see_user_quotas([body])

    async def see_user_quotas(self, bodies: Sequence[Mapping[str, Any]]) -> None:
        """UserQuotas are there, or have changed. Their users' groups are noted together."""
        found = [(members.read(body), body.get("status") or {}) for body in bodies]
        before = {seen.name: self._members.take(seen) for seen, _ in found}
        self._mind_cap()
        self.memberships.note(seen for seen, _ in found if _moved(before[seen.name], seen))
        for place, (seen, status) in enumerate(found):
            self._take_in(before[seen.name], seen, status)
            if place % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)

    def _take_in(self, before: Seen | None, seen: Seen, status: Mapping[str, Any]) -> None:
        self.decisions.recall(seen.user, status.get("lastRefusal"))
        if seen.ignored is not None:
            if (before is None or before.ignored != seen.ignored) and not seen.says_so():
                logger.warning("userquota=%s ignored: %s", seen.name, seen.ignored.message)
                self.scheduler.request(("ignored", seen.name))
        elif before is None:
            self._take_up(seen, status)
        elif before.generation != seen.generation:
            self._concern([seen.user])

    def user_quotas_listed(self, names: Collection[str]) -> None:
        """These are all UserQuotas that there are: those that went unseen are gone, and whoever lacks one gets it."""
        for seen in self._members.all():
            if seen.name not in names:
                self._lose(seen.name)
        self.memberships.only(self._is_there)
        lacking = {user for user in self._charged() if self._members.of(user) is None}
        self._owed |= lacking
        self._concern(lacking)

    async def expire(self, retention: int) -> None:
        """Delete the UserQuotas without usage in any window, of users unseen for ``retention`` (microseconds).

        Whom the hub itself lists is seen. Raises ApiError.
        """
        now = self._clock()
        own = (seen for seen in self._members.all() if seen.ignored is None and not self._members.is_listed(seen.user))
        known = ((seen, self._traces(seen, now)) for seen in own)
        expired = [
            (s, traces) for s, traces in known if expiry.has_expired(traces, self._policies.window, retention, now)
        ]
        self.metrics.user_quotas_expired.inc(await expiry.delete(self._api, self._writer.path("userquotas"), expired))

    def _note_policy(self, kind: str | None, stored: Stored) -> bool:
        """Keep a policy as it is now; returns whether it is another than before."""
        if kind != "DELETED":
            return self._policies.take(stored)
        if not self._policies.lose(stored):
            return False
        self._statuses.forget(stored.name)
        self.scheduler.forget(("policy", stored.name))
        return True

    async def _look_back(self) -> None:
        """Have as much of the past at hand as the policies want; where the ledger is away, with the next listing."""
        try:
            await self._pods.look_back(self._policies.window)
        except SQLAlchemyError as fault:
            logger.warning("hub=%s more of the past cannot be read now: %s", self.namespace, fault)

    async def _renew(self) -> None:
        """Have all statuses written, those first in which a launch meets another answer than before."""
        later = []
        for place, user in enumerate(sorted(self._members.users() | self._charged())):
            if verdicts(self._standing(user)) != self._verdicts.get(user):
                self.scheduler.request(("user", user), spaced=False)  # or all others would be before it
            else:
                later.append(("user", user))
            if place % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
        self.scheduler.trickle(later)

    def _take_up(self, seen: Seen, status: Mapping[str, Any]) -> None:
        """A UserQuota that was not known. At the start, one whose status may be believed is compared later."""
        if self._believes and not self.started.is_set():
            running = [_running(p) for p in self._pods.meter.running(seen.user)]
            told = believed(seen, status, running, self._pods.meter)
            if told is not None:
                self._believed[seen.user] = told
                return
        self._compare(seen, as_of(status), digest(status))

    def _compare(self, seen: Seen, at: int | None, digest_: bytes) -> None:
        """Have a status written, unless it says the truth still.

        It does where nothing has happened since it was made, and it would be made the same again for that instant: what
        is ahead is told as instants, so that it stays right while time goes by.
        """
        standing = self._standing(seen.user, at)
        due, now = standing.next_change(), self._clock()
        same = digest(self._status(seen.user, standing, seen.generation)) == digest_
        changed = self._pods.meter.changed_since(seen.user, standing.at)
        if not same or changed or (due is not None and due <= now):
            self._owed.add(seen.user)
            self._concern([seen.user])
            return
        self._note(seen.user, standing)
        if due is not None:
            self.scheduler.request(("user", seen.user), (due - now) / 1_000_000)

    def _standing(self, user: str, at: int | None = None) -> Standing:
        """Where a user stands at an instant; None: now."""
        now = self._clock() if at is None else at
        groups = self._members.groups(user)
        return self._pods.meter.standing(tuple(self._policies.applied.values()), user, groups, now)

    def _counts_at_once(self, user: str) -> bool:
        return counted_at_once(self._policies.applied.values(), user, self._members.groups(user), self._clock())

    def _note(self, user: str, standing: Standing) -> None:
        """Count a user's standing for the policies, whose statuses follow."""
        self._verdicts[user] = verdicts(standing)
        for name in self._tally.take(user, standing):
            self.scheduler.request(("policy", name), _COUNTED_AFTER)

    def _traces(self, seen: Seen, now: int) -> expiry.Traces:
        return expiry.Traces(seen.created, seen.observed, self._pods.meter.last_held(seen.user, now))

    def _charged(self) -> set[str]:
        """Everybody with usage in a window of the policies, or who is using something now."""
        return {user for user in self._pods.meter.users() if self._is_charged(user)}

    def _is_charged(self, user: str) -> bool:
        now = self._clock()
        return expiry.is_charged(self._pods.meter.last_held(user, now), self._policies.window, now)

    def _is_wanted(self, user: str) -> bool:
        """Whether a user should have a UserQuota."""
        return self._members.is_listed(user) or self._is_charged(user)

    def _is_there(self, user: str) -> bool:
        return self._members.named(user_quota_name(user)) is not None or self._is_charged(user)

    def _lose(self, name: str) -> None:
        """A UserQuota is gone; who has usage still gets a new one."""
        gone = self._members.named(name)
        self._members.drop(name, remember=gone is not None and self._is_wanted(gone.user))
        self._mind_cap()
        if gone is None:
            return
        self._owed.discard(gone.user)
        self._believed.pop(gone.user, None)
        if gone.ignored is not None:  # it may have stood in another's place
            self._concern(user for user in self._charged() if user_quota_name(user) == name)
        elif self._is_wanted(gone.user):
            self._concern([gone.user])
        else:
            self.scheduler.forget(("user", gone.user))
            self._verdicts.pop(gone.user, None)
            self._tally.forget_user(gone.user)
            self.decisions.forget(gone.user)
            self.memberships.lose(gone.user)
            self._tell_policies(_COUNTED_AFTER)

    def _follow(self, users: Mapping[str, float], uids: Mapping[str, float]) -> None:
        """Have the statuses of users and policies written of which hooks told something, in so many seconds."""
        for user, seconds in users.items():
            self.scheduler.request(("user", user), seconds)
        for stored in self._policies.stored.values():
            if stored.uid in uids:
                self.scheduler.request(("policy", stored.name), uids[stored.uid])

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
        for name in self._policies.stored:
            self.scheduler.request(("policy", name), delay)

    def _concern(self, users: Iterable[str]) -> None:
        """Have the statuses of users, and of the pools they may charge, written."""
        concerned = False
        for user in users:
            self.scheduler.request(("user", user))
            concerned = True
        if concerned:
            for policy in self._policies.applied.values():
                if policy.shared:
                    self.scheduler.request(("policy", policy.name))

    async def _write(self, key: Key) -> float | None:
        kind, name = key
        if kind == "ignored":
            return await self._write_ignored(name)
        return await (self._write_user(name) if kind == "user" else self._write_policy(name))

    async def _write_user(self, user: str) -> float | None:
        name = user_quota_name(user)
        if self._members.named(name) is None and not (self._is_wanted(user) and await self._make_user_quota(user)):
            self._settle(user)
            return None
        there = self._members.named(name)
        if there is not None and there.ignored is not None:
            self._settle(user)
            return None
        self._believed.pop(user, None)
        standing = self._standing(user)
        self._note(user, standing)
        told = self._status(user, standing, 0 if there is None else there.generation)
        # What no longer holds is taken away, not left as it was.
        if not await self._writer.status("userquotas", name, {"conditions": None, "foreseenUntil": None} | told):
            return None  # it has just been deleted; when we hear of that, whoever counts gets another
        self._settle(user)
        return self._seconds_to(standing.next_change())

    def _settle(self, user: str) -> None:
        """A user's status reflects the policies now, or there is none that could."""
        if user in self._owed:
            self._owed.discard(user)
            if not self._owed:
                self._tell_policies()

    async def _write_ignored(self, name: str) -> float | None:
        seen = self._members.named(name)
        if seen is not None and seen.ignored is not None:
            await self._writer.tell("userquotas", name, members.ignored_status(seen, self._clock()))
        return None

    async def _write_policy(self, name: str) -> float | None:
        if self._believed:
            return _COUNTED_AFTER  # who counts is not all known yet
        return self._seconds_to(await self._statuses.write(name, self._clock()))

    def _status(self, user: str, standing: Standing, generation: int) -> Json:
        meter = self._pods.meter
        # A server on its way changes nothing but a count of servers: who has none need not be told of it.
        pending = meter.pending(user) if standing.at_once else ()
        told = user_status(standing, [_running(p) for p in meter.running(user)], generation, pending)
        refusal = self.decisions.last_refusal(user)
        return told if refusal is None else told | {"lastRefusal": refusal}

    def _seconds_to(self, at: int | None) -> float | None:
        return None if at is None else max(0.0, (at - self._clock()) / 1_000_000)

    async def _make_user_quota(self, user: str) -> bool:
        """Whether there is one now; at the cap the user is left out until there is room."""
        charged = self._is_charged(user)
        if self._members.full and charged:
            self.room.leave_out(user)
        if self._members.full or not (charged or self._members.room_for_listed()):
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
            # Its status is written next: a hook takes one without for that of a user without usage.
            seen = members.read(made)
            self._members.take(seen)
            self._mind_cap()
            self.memberships.note([seen])
        return True


def _moved(before: Seen | None, seen: Seen) -> bool:
    """Whether a UserQuota that counts tells other groups than before."""
    return seen.ignored is None and (before is None or before.groups != seen.groups)


#: Name, enforcement and whether it is used up, of each quota.
Verdicts = tuple[tuple[str, str, bool], ...]


def verdicts(standing: Standing) -> Verdicts:
    """What a launch meets, quota by quota."""
    return tuple((s.quota.name, str(s.quota.enforcement), s.blocked_at(standing.at)) for s in standing.quotas)


def _running(pod: PodRecord) -> Json:
    allocation = {s.resource: str(s.request) for s in pod.segments if s.end is None and s.resource != "servers"}
    told: Json = {"pod": pod.name, "since": rfc3339(pod.scheduled), "allocation": allocation}
    return told if pod.server is None else told | {"server": pod.server}
