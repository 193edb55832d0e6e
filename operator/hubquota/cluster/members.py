"""The UserQuotas of one hub as last seen: whose they are, how many there are, which are ignored and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import ValidationError

from hubquota.domain.pods import micros, rfc3339
from hubquota.resources import reasons
from hubquota.resources.conditions import condition
from hubquota.resources.names import user_quota_name
from hubquota.resources.status import Json
from hubquota.resources.user_quota import UserQuotaSpec
from hubquota.resources.wording import faults, printable

IGNORED: Final = "Ignored"
_LONGEST_MESSAGE: Final = 2000
_LONGEST_SUMMARY: Final = 1000
#: Characters of a user's name in a sentence; each may take ten to be shown.
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Ignored:
    """Why a UserQuota is not its user's: a reason of Ready, and what to do."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One UserQuota. ``observed``: when the hub last told the groups, None: never. ``ignored`` None: it counts.

    ``conditions`` are kept of one that is ignored alone; no other has any.
    """

    name: str
    uid: str
    version: str
    generation: int
    created: int
    user: str = ""
    groups: frozenset[str] = frozenset()
    observed: int | None = None
    ignored: Ignored | None = None
    conditions: tuple[Json, ...] = ()

    def says_so(self) -> bool:
        """Whether its status says already that it is ignored, and why."""
        ready = next((c for c in self.conditions if c.get("type") == reasons.READY), {})
        told = (ready.get("observedGeneration"), ready.get("reason"), ready.get("message"))
        return self.ignored is not None and told == (self.generation, self.ignored.reason, self.ignored.message)


def read(body: Mapping[str, Any]) -> Seen:
    """A UserQuota as the API server tells it. One that slipped past an older CRD is ignored, and never raises."""
    metadata = body["metadata"]
    seen = Seen(
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        generation=metadata.get("generation", 1),
        created=micros(metadata["creationTimestamp"]),
    )
    try:
        spec = UserQuotaSpec.model_validate(body.get("spec"))
    except ValidationError as error:
        return _passed_over(seen, body, Ignored(reasons.INVALID, faults(error)[:_LONGEST_MESSAGE]))
    right = user_quota_name(spec.user)
    if metadata["name"] != right:
        whose = printable(spec.user[:_SHOWN])
        text = f"the UserQuota of user {whose} must be named {right}: delete this one, the operator makes the right one"
        return _passed_over(seen, body, Ignored(reasons.NAME_MISMATCH, text))
    at = None if spec.groups_observed_at is None else micros(spec.groups_observed_at)
    return replace(seen, user=spec.user, groups=frozenset(spec.groups), observed=at)


def ignored_status(seen: Seen, now: int) -> Json:
    """The status of one that is ignored: why, and nothing of what it may have told before."""
    why = seen.ignored or Ignored("", "")
    ready = condition(
        seen.conditions,
        reasons.READY,
        holds=False,
        reason=why.reason,
        message=why.message,
        generation=seen.generation,
        now=now,
    )
    return {
        "observedGeneration": seen.generation,
        "asOf": rfc3339(now),
        "decision": IGNORED,
        "summary": f"ignored: {why.message}"[:_LONGEST_SUMMARY],
        "quotas": None,
        "pools": None,
        "running": None,
        "pending": None,
        "foreseenUntil": None,
        "lastRefusal": None,
        "conditions": [ready],
    }


class Members:
    """All UserQuotas of a hub by name, and how many there may be."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seen: dict[str, Seen] = {}
        #: Of users whose UserQuota is gone but who are charged still: it is made anew with their groups.
        self._departed: dict[str, Seen] = {}
        #: The groups of users as the hub itself lists them, and when it did; users in none are not among them.
        self._listed: Mapping[str, tuple[str, ...]] = {}
        self._listed_at = 0
        self._under_way = 0

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def full(self) -> bool:
        """Whether there are as many as there may be, those included that are being made and those that are ignored."""
        return len(self._seen) + self._under_way >= self._most

    def list_all(self, groups: Mapping[str, tuple[str, ...]], at: int) -> None:
        """The hub lists these users who are in a group, as of ``at``; who is not among them any more is forgotten."""
        self._listed, self._listed_at = groups, at

    def is_listed(self, user: str) -> bool:
        """Whether the hub lists the user, in a group."""
        return user in self._listed

    def room_for_listed(self) -> int:
        """UserQuotas that may be made of users who have launched nothing: half of all, the rest is for launches."""
        return max(0, self._most // 2 - len(self._seen) - self._under_way)

    def take(self, seen: Seen) -> Seen | None:
        """Take one in; returns what it was before."""
        before = self._seen.get(seen.name)
        self._seen[seen.name] = seen
        self._departed.pop(seen.user, None)
        return before

    def drop(self, name: str, *, remember: bool = False) -> None:
        """One is gone. ``remember``: its user's groups are still wanted."""
        gone = self._seen.pop(name, None)
        if gone is not None and gone.ignored is None and remember:
            self._departed[gone.user] = gone

    def named(self, name: str) -> Seen | None:
        """The one of this name; None: there is none."""
        return self._seen.get(name)

    def of(self, user: str) -> Seen | None:
        """A user's own; None: there is none that counts."""
        seen = self._seen.get(user_quota_name(user))
        return None if seen is None or seen.ignored is not None else seen

    def groups(self, user: str) -> frozenset[str]:
        """The groups that the hub last told of a user."""
        seen = self.of(user)
        return self._remembered(user)[0] if seen is None else seen.groups

    def users(self) -> set[str]:
        """Everybody who has one that counts."""
        return {seen.user for seen in self._seen.values() if seen.ignored is None}

    def all_groups(self) -> set[str]:
        """Every group that anybody is in."""
        return {group for seen in self._seen.values() for group in seen.groups}

    def all(self) -> Sequence[Seen]:
        """Every one, ignored ones too."""
        return tuple(self._seen.values())

    def to_make(self, user: str) -> Json:
        """The UserQuota that a user should have."""
        spec: Json = {"user": user}
        groups, at = self._remembered(user)
        if at is not None:
            spec |= {"groups": sorted(groups), "groupsObservedAt": rfc3339(at)}
        return {
            "apiVersion": "hubquota.dev/v1alpha1",
            "kind": "UserQuota",
            "metadata": {"name": user_quota_name(user)},
            "spec": spec,
        }

    def _remembered(self, user: str) -> tuple[frozenset[str], int | None]:
        """The groups of one who has no UserQuota, and when the hub told them; None: it never did."""
        before, listed = self._departed.get(user), self._listed.get(user)
        told = None if before is None else before.observed
        if listed is not None and (told is None or told <= self._listed_at):
            return frozenset(listed), self._listed_at
        return (frozenset(), None) if before is None else (before.groups, told)

    def making(self, by: int) -> None:
        """One more is being made (1), or has been or cannot be (-1)."""
        self._under_way += by


def _passed_over(seen: Seen, body: Mapping[str, Any], why: Ignored) -> Seen:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return replace(seen, ignored=why, conditions=tuple(conditions))
