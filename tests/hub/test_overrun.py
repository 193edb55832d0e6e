"""What the guide reckons of launches at once is what the engine reckons, and what each user read."""

import re
from datetime import UTC, datetime
from fractions import Fraction

import pytest

import hubquota_hook as hook
from hubquota.domain.measure import Measure
from hubquota.domain.quotas import combined
from hubquota.domain.standing import QuotaState, quota_state
from hubquota.domain.windows import HOUR, SECOND, Fixed
from hubquota.resources.status import quota_json
from tests.domain.histories import holdings, policy
from tests.testbed.hub import ROOT

TEXT = (ROOT / "docs" / "overrun.md").read_text()
GUIDE = " ".join(TEXT.split())
NINE = 9 * HOUR
HALF_PAST_TEN = NINE + 90 * 60 * SECOND
GPU = {"nvidia.com/gpu": 1000}
POOL = policy("gpus", 100 * 1000 * HOUR, Fixed(0, 10**6 * HOUR), measure=Measure("nvidia.com/gpu"), unit="GPU-hours")


def pool(servers: int, at: int, running: int = 0) -> QuotaState:
    """98 GPU-hours were used before nine, when so many servers start; ``running``: how many have run since eight."""
    before = [({"nvidia.com/gpu": (98 - running) * 1000}, 7 * HOUR, 8 * HOUR), *[(GPU, 8 * HOUR, None)] * running]
    return quota_state(combined([POOL]), holdings([*before, *[(GPU, NINE, None)] * servers]), at)


def exceeded(servers: int, running: int) -> Fraction:
    """By how many GPU-hours, at half past ten."""
    state = pool(servers, HALF_PAST_TEN, running)
    return Fraction((state.used or 0) - state.limit, 1000 * HOUR)


def reckoned(formula: str, **symbols: Fraction) -> Fraction:
    """What a formula of the guide comes to."""
    for sign, python in (("×", "*"), ("÷", "/"), ("−", "-")):
        formula = formula.replace(sign, python)
    return Fraction(eval(formula, {}, dict(symbols)))


@pytest.mark.parametrize(("servers", "running"), [(30, 0), (1, 50), (7, 20)])
def test_the_guide_s_formulas_are_what_the_engine_reckons(servers: int, running: int) -> None:
    told = re.search(r"(?m)^    overrun = (.+?) {2,}t = (.+)$", TEXT)
    bound = re.search(r"it is less than\n\n    (.+)\n", TEXT)
    assert told
    assert bound
    given: dict[str, int | Fraction] = {"N": servers, "request": 1, "running": running, "left": 2, "T": Fraction(3, 2)}
    symbols = {name: Fraction(value) for name, value in given.items()}
    t = reckoned(told[2], **symbols)
    assert 0 <= pool(servers, NINE, running).blocked[0].start - (NINE + t * HOUR) < SECOND
    assert reckoned(told[1], **symbols, t=t) == exceeded(servers, running)
    assert reckoned(bound[1], **symbols) == exceeded(servers, running) + symbols["left"]


def test_a_class_that_starts_at_once_uses_a_pool_up_when_the_guide_says_and_exceeds_it_by_as_much() -> None:
    told = re.search(r"(\d+) of a pool's 100 GPU-hours are left when a class of (\d+) students", GUIDE)
    assert told
    left, students = map(int, told.groups())
    start = pool(0, NINE)
    assert (start.limit - (start.used or 0)) == left * 1000 * HOUR
    together = pool(students, NINE)
    assert together.blocked[0].start == NINE + 4 * 60 * SECOND
    assert "= 4 minutes. From 9:04 launches are refused" in GUIDE
    used = (pool(students, HALF_PAST_TEN).used or 0) // (1000 * HOUR)
    assert f"ends at 98 + 30 × 1.5 = {used} GPU-hours: an overrun of 30 × 1 × (90 − 4) min = {used - 100}." in GUIDE


def test_what_runs_already_exceeds_a_pool_with_a_launch_by_as_much_as_the_guide_says() -> None:
    told = re.search(
        r"(\d+) GPUs of that pool have run since 8:00, and (\d+) of its GPU-hours are left when one more", GUIDE
    )
    assert told
    running, left = map(int, told.groups())
    start = pool(0, NINE, running)
    assert (start.limit - (start.used or 0)) == left * 1000 * HOUR
    assert (pool(1, NINE, running).blocked[0].start - NINE) // SECOND == 2 * 60 + 21
    assert "up in 2 ÷ 51 h = 2 min 21 s" in GUIDE
    over = exceeded(1, running)
    assert f"98 + 51 × 1.5 = {float(100 + over)} GPU-hours: an overrun of 51 × (1.5 − 2 ÷ 51) = {float(over)}." in GUIDE
    assert f"Without that launch it would have been {exceeded(0, running)}." in GUIDE


def test_each_of_them_reads_what_is_so_for_one_server() -> None:
    launch = hook.Launch("alice", "", "", GPU)
    now = datetime.fromtimestamp(NINE // SECOND, UTC)
    said, _ = hook.progress_message(hook.Verdict(open=[quota_json(pool(0, NINE))]), launch, now)
    read = re.search(r'read at the start "(.+) left; (with this server it lasts 2 h)"', GUIDE)
    assert read
    assert read[1] in said
    assert f"; {read[2]}, until" in said
