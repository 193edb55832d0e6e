"""Whether a status that was written earlier still says the truth, so that a restart need not write it again."""

from collections.abc import Mapping
from typing import Any, Final

from hubquota.domain.pods import micros
from hubquota.resources.status import Json

#: Fields of a quota that go on by themselves; the rest changes only when something happens.
_GOES_ON: Final = ("used", "coveredSince", "blocked", "blockedIfStopped", "forecast")
#: Fields of a status that go on by themselves.
_SPEAKS_OF_NOW: Final = ("asOf", "summary", "quotas", "conditions", "storage")


def used_as_told(status: Mapping[str, Any]) -> dict[str, str]:
    """What a status says was used, by quota."""
    return {quota["name"]: quota["used"] for quota in status.get("quotas") or () if "name" in quota and "used" in quota}


def still_true(told: Mapping[str, Any], true: Mapping[str, Any], now: int) -> bool:
    """Whether ``told``, a status as it stands, says what ``true``, made at ``now``, says, apart from numbers.

    The stretches in which a quota is used up are told as instants, so they stay right while time goes by.
    """
    if told.get("conditions") or _without(told, _SPEAKS_OF_NOW) != _without(true, _SPEAKS_OF_NOW):
        return False
    before, after = told.get("quotas") or [], true.get("quotas") or []
    return len(before) == len(after) and all(_same(b, a, now) for b, a in zip(before, after, strict=True))


def _same(told: Mapping[str, Any], true: Mapping[str, Any], now: int) -> bool:
    if _without(told, _GOES_ON) != _without(true, _GOES_ON):
        return False
    return all(
        _ahead(told.get(field), now) == _ahead(true.get(field), now) for field in ("blocked", "blockedIfStopped")
    )


def _ahead(stretches: list[Json] | None, now: int) -> list[tuple[int, str | None]]:
    """What is still ahead of stretches."""
    found = [(max(now, micros(s["from"])), s.get("until")) for s in stretches or ()]
    return [(start, until) for start, until in found if until is None or micros(until) > now]


def _without(told: Mapping[str, Any], fields: tuple[str, ...]) -> Json:
    return {name: value for name, value in told.items() if name not in fields}
