"""Whether what users are told is what the ledger says."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from hubquota.domain.history import PodRecord
from hubquota.domain.pods import micros
from tests.testbed.rest import Json, Rest

#: Bytes x microseconds in a GiB-hour, of which a status tells six decimals.
_GIB_HOUR: Final = 2**30 * 3_600_000_000
_CUT: Final = Decimal("0.000001")


async def faults(rest: Rest, hub: str, records: Sequence[PodRecord]) -> list[str]:
    """Users whose status tells other usage than their pods in the ledger come to. Raises httpx.HTTPError."""
    by_user: defaultdict[str, list[PodRecord]] = defaultdict(list)
    for record in records:
        by_user[record.user or ""].append(record)
    path = f"/apis/hubquota.dev/v1alpha1/namespaces/{hub}/userquotas"
    told = {quota["spec"]["user"]: quota for quota in (await rest.call("GET", path))["items"]}
    missing = [f"{user} has pods in the ledger, and no UserQuota" for user in by_user.keys() - told.keys()]
    return missing + [fault for user, quota in told.items() for fault in _faults(user, quota, by_user[user])]


def _faults(user: str, quota: Json, records: Iterable[PodRecord]) -> list[str]:
    status = quota.get("status") or {}
    if not status.get("quotas"):
        return [f"{user} is told of no quota"]
    at = micros(status["asOf"])
    held = sum(_held(record, at) for record in records)
    expected, used = Decimal(held) / _GIB_HOUR, Decimal(status["quotas"][0]["used"])
    if not used <= expected < used + _CUT:
        return [f"{user} is told {used} as of {status['asOf']}, and by the ledger it is {expected:.9f}"]
    running = sorted(record.name for record in records if record.end is None)
    if running != sorted(one["pod"] for one in status.get("running", ())):
        return [f"{user} is told that {status.get('running')} run, and by the ledger it is {running}"]
    return []


def _held(record: PodRecord, at: int) -> int:
    """Bytes x microseconds of memory up to an instant."""
    stretches = (s for s in record.segments if s.resource == "memory")
    return sum(s.request * max(0, min(at, at if s.end is None else s.end) - s.start) for s in stretches)
