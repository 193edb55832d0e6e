"""What the guide reckons of launches at once is what the engine reckons, and what each user read."""

import re
from datetime import UTC, datetime

import hubquota_hook as hook
from hubquota.domain.measure import Measure
from hubquota.domain.quotas import combined
from hubquota.domain.standing import QuotaState, quota_state
from hubquota.domain.windows import HOUR, SECOND, Fixed
from hubquota.resources.status import quota_json
from tests.domain.histories import holdings, policy
from tests.testbed.hub import ROOT

GUIDE = " ".join((ROOT / "docs" / "overrun.md").read_text().split())
NINE = 9 * HOUR
GPU = {"nvidia.com/gpu": 1000}
POOL = policy("gpus", 100 * 1000 * HOUR, Fixed(0, 10**6 * HOUR), measure=Measure("nvidia.com/gpu"), unit="GPU-hours")


def pool(servers: int, at: int) -> QuotaState:
    """98 GPU-hours were used before nine, when so many servers start."""
    before = [({"nvidia.com/gpu": 98_000}, 7 * HOUR, 8 * HOUR)]
    return quota_state(combined([POOL]), holdings([*before, *[(GPU, NINE, None)] * servers]), at)


def test_a_class_that_starts_at_once_uses_a_pool_up_when_the_guide_says_and_exceeds_it_by_as_much() -> None:
    told = re.search(r"(\d+) of a pool's 100 GPU-hours are left when a class of (\d+) students", GUIDE)
    assert told
    left, students = map(int, told.groups())
    start = pool(0, NINE)
    assert (start.limit - (start.used or 0)) == left * 1000 * HOUR
    together = pool(students, NINE)
    assert together.blocked[0].start == NINE + 4 * 60 * SECOND
    assert "= 4 minutes. From 9:04 launches are refused" in GUIDE
    used = (pool(students, NINE + 90 * 60 * SECOND).used or 0) // (1000 * HOUR)
    assert f"ends at 98 + 30 × 1.5 = {used} GPU-hours: an overrun of 30 × 1 × (90 − 4) min = {used - 100}." in GUIDE


def test_each_of_them_reads_what_is_so_for_one_server() -> None:
    launch = hook.Launch("alice", "", "", GPU)
    now = datetime.fromtimestamp(NINE // SECOND, UTC)
    said, _ = hook.progress_message(hook.Verdict(open=[quota_json(pool(0, NINE))]), launch, now)
    read = re.search(r'read at the start "(.+) left; (with this server it lasts 2 h)"', GUIDE)
    assert read
    assert read[1] in said
    assert f"; {read[2]}, until" in said
