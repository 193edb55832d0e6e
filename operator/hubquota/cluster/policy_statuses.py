"""What the statuses of one hub's policies say, written where they say something new."""

from collections.abc import Callable
from typing import Final

from hubquota.cluster import policies
from hubquota.cluster.api import Json
from hubquota.cluster.catalogue import Catalogue
from hubquota.cluster.decisions import Decisions
from hubquota.cluster.findings import Looks
from hubquota.cluster.journal import Journal
from hubquota.cluster.members import Members
from hubquota.cluster.pods import Pods
from hubquota.cluster.policies import Facts
from hubquota.cluster.room import Room
from hubquota.cluster.writing import Writer
from hubquota.domain.policy import Policy
from hubquota.domain.tally import Tally
from hubquota.domain.windows import Fixed

_POLICIES: Final = "quotapolicies"


class PolicyStatuses:
    """Statuses of policies. ``owed`` gives how many statuses of users do not reflect the policies yet."""

    def __init__(
        self,
        catalogue: Catalogue,
        members: Members,
        pods: Pods,
        tally: Tally,
        decisions: Decisions,
        room: Room,
        journal: Journal,
        writer: Writer,
        owed: Callable[[], int],
    ) -> None:
        self._catalogue, self._members, self._pods, self._tally = catalogue, members, pods, tally
        self._decisions, self._room, self._journal, self._writer = decisions, room, journal, writer
        self._owed = owed
        self._looks = Looks(tally.users)
        self._told: dict[str, Json] = {}

    async def write(self, name: str, now: int) -> int | None:
        """Write a policy's status, unless it says so already; when it will say something else, in microseconds.

        None: not before something happens. Raises ApiError.
        """
        stored = self._catalogue.stored.get(name)
        if stored is None:
            return None
        active = self._catalogue.applied.get(name)
        facts = self._facts(name, active, now)
        told = policies.status(stored, active, facts, now)
        lasting = _lasting(told)
        if self._told.get(name) != lasting:
            await self._writer.tell(_POLICIES, name, told)
            self._told[name] = lasting
        return _next_change(active, facts, now)

    def forget(self, name: str) -> None:
        """A policy is gone."""
        self._told.pop(name, None)
        self._tally.forget(name)
        self._looks.forget(name)

    def _facts(self, name: str, active: Policy | None, now: int) -> Facts:
        uid = self._catalogue.stored[name].uid
        refused, would = self._decisions.refused(uid), self._decisions.would_have_refused(uid)
        if active is None:
            return Facts(self._tally.summary(name), cap=self._room.at_cap, refused=refused, would_have_refused=would)
        return Facts(
            summary=self._tally.summary(name),
            findings=self._looks.at(active, self._pods.meter, self._known_names, now),
            heaviest=tuple(self._tally.heaviest(name)),
            pool=self._pods.meter.pool(active, now) if active.shared else None,
            refused=refused,
            would_have_refused=would,
            owed=self._owed(),
            cap=self._room.at_cap,
            ledger_away=self._journal.away_since,
            covering=policies.covering_everyone(active, self._catalogue.applied.values()),
        )

    def _known_names(self) -> tuple[set[str], set[str]]:
        users = self._members.users() | self._pods.meter.users()
        return users, self._members.all_groups() | self._pods.meter.groups()


def _lasting(told: Json) -> Json:
    """A status without its times: where none can be stored, a condition would begin anew each time."""
    conditions = [{k: v for k, v in c.items() if k != "lastTransitionTime"} for c in told["conditions"]]
    return {k: v for k, v in told.items() if k != "asOf"} | {"conditions": conditions}


def _next_change(active: Policy | None, facts: Facts, now: int) -> int | None:
    if active is None:
        return None
    pool = None if facts.pool is None else facts.pool.next_change(now)
    changes = (pool, _next_turn(active, now), now + facts.findings.good_for)
    return min((at for at in changes if at is not None), default=None)


def _next_turn(policy: Policy, now: int) -> int | None:
    """When a policy's event begins or ends."""
    edges = (policy.window.start, policy.window.end) if isinstance(policy.window, Fixed) else ()
    return min((at for at in edges if at > now), default=None)
