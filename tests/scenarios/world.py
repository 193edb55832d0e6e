"""What is there in a scenario after each of its steps: policies, memberships, and pods as they were seen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Final

from hubquota.cluster.observing import PoisonPod, Sight, observed, running_before_placement
from hubquota.domain.history import PodRecord
from hubquota.domain.policy import Policy
from hubquota.ledger.merging import merged
from hubquota.resources.policy import PolicySpec, to_policy
from tests.scenarios import objects
from tests.scenarios.vocabulary import (
    Act,
    Begin,
    Case,
    Delete,
    Finish,
    Grow,
    Join,
    Json,
    Pod,
    Remove,
    Write,
    instant,
)

HUB: Final = "hub"
OTHER_HUB: Final = "other-hub"
CLUSTER: Final = "default"


@dataclass(slots=True)
class Known:
    """A pod and all sights of it. ``placed``: it holds something, or did."""

    pod: Pod
    name: str
    uid: str
    asks: Mapping[str, str]
    sights: list[Sight] = field(default_factory=list)

    @property
    def hub(self) -> str:
        """Its namespace."""
        return OTHER_HUB if self.pod.other_hub else HUB

    @property
    def is_history(self) -> bool:
        """Whether it was gone for good before the scenario's instant: no cluster has it, but the ledger does."""
        return self.sights[0].at < self.sights[-1].at and self.sights[-1].gone

    def object(self, status: Json, asks: Mapping[str, str] | None = None) -> Json:
        """The pod with a status."""
        meta = objects.metadata(self.pod, self.name) | {"namespace": self.hub, "uid": self.uid}
        return {"metadata": meta, "spec": objects.spec(self.pod, self.asks if asks is None else asks), "status": status}


class World:
    """One scenario as it goes on."""

    def __init__(self, case: Case) -> None:
        self.case, self.now = case, case.at
        self.specs: dict[str, Json] = dict(case.policies)
        self.members: dict[str, tuple[str, ...]] = dict(case.members)
        self.pods: list[Known] = []
        for pod in case.pods:
            self._begin(pod)

    def do(self, act: Act) -> None:
        """One thing happens."""
        match act:
            case Write(policy, spec):
                self.specs[policy] = spec
            case Remove(policy):
                del self.specs[policy]
            case Join(user, groups):
                self.members[user] = groups
            case Begin(pod):
                self._begin(pod)
            case Finish(name, at):
                known = self.find(name)
                last, end = self.last(known), instant(at, self.now)
                status = last["status"] | objects.finished_status(last["spec"], "Succeeded", end)
                known.sights.append(Sight(known.object(status), self.now))
            case Delete(name):
                known = self.find(name)
                known.sights.append(Sight(self.last(known), self.now, gone=True))
            case Grow(name, asks):
                known = self.find(name)
                known.asks = asks
                known.sights.append(Sight(known.object(self.last(known)["status"]), self.now))

    def find(self, name: str) -> Known:
        """The newest pod of a name."""
        return next(known for known in reversed(self.pods) if known.name == name)

    def last(self, known: Known) -> dict[str, Any]:
        """A pod as it was seen last."""
        return dict(known.sights[-1].pod)

    def policies(self) -> list[Policy]:
        """As the engine takes them."""
        return [to_policy(name, PolicySpec.model_validate(spec)) for name, spec in sorted(self.specs.items())]

    def groups(self, user: str) -> frozenset[str]:
        """The groups of a user as the hub says now."""
        return frozenset(self.members.get(user, ()))

    def records(self, hub: str = HUB) -> list[PodRecord]:
        """What a ledger would keep of a hub's pods by now."""
        kept = (record_of(known) for known in self.pods if known.hub == hub)
        return [record for record in kept if record is not None]

    def pending(self) -> list[Known]:
        """The servers that are on their way."""
        return [known for known in self.pods if known.pod.user is not None and known.hub == HUB and _waits(known)]

    def has_pods(self, user: str) -> bool:
        """Whether anything that the user ever held is known."""
        return any(record.user == user for record in self.records())

    def relaunched(self, user: str, server: str) -> int:
        """How many of the servers that are counted now a launch of this server replaces."""
        running = sum((r.user, r.server, r.end) == (user, server, None) for r in self.records())
        return running + sum((known.pod.user, known.pod.server) == (user, server) for known in self.pending())

    def _begin(self, pod: Pod) -> None:
        place = len(self.pods)
        known = Known(pod, objects.name_of(pod, place), f"uid-{place}", pod.asks)
        known.sights = list(_sights(known, self.now))
        self.pods.append(known)


def record_of(known: Known, uid: str = "", hub: str = "") -> PodRecord | None:
    """What a ledger keeps of a pod after all its sights; None: nothing. ``uid``, ``hub``: other ones."""
    kept = []
    for sight in known.sights:
        meta = sight.pod["metadata"] | ({"uid": uid} if uid else {}) | ({"namespace": hub} if hub else {})
        try:
            record = observed(Sight({**sight.pod, "metadata": meta}, sight.at, sight.gone), CLUSTER)
        except PoisonPod:
            record = None
        if record is not None:
            kept.append(record)
    return reduce(merged, kept) if kept else None


def _waits(known: Known) -> bool:
    return running_before_placement(known.sights[-1].pod) and not known.sights[-1].gone


def _sights(known: Known, now: int) -> Iterator[Sight]:
    """As the pod was seen up to the scenario's instant: now, unless it was gone by then."""
    pod = known.pod
    status = objects.running_status(pod, now)
    if pod.since is None or (pod.hours is None and pod.ended != "Vanished"):
        yield Sight(known.object(status), now)
    elif pod.ended == "Vanished":
        yield Sight(known.object({**status, "phase": "Failed"}), now)
    elif pod.ended == "Deleted":
        yield from _history(known, status, now)
    else:
        phase = "Succeeded" if pod.ended == "Finished" else "Failed"
        end = instant(pod.since, now) + instant(pod.hours or 0, 0)
        told = objects.finished_status(objects.spec(pod, pod.asks), phase, end)
        yield Sight(known.object({**status, **told, **(pod.status or {})}), now)


def _history(known: Known, status: Json, now: int) -> Iterator[Sight]:
    pod = known.pod
    start = instant(pod.since or 0, now)
    yield Sight(known.object(status), start)
    if pod.grew is not None:
        known.asks = pod.grew[1]
        yield Sight(known.object(status), instant(pod.grew[0], now))
    yield Sight(known.object(status), start + instant(pod.hours or 0, 0), gone=True)
