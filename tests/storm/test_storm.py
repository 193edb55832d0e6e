"""The ledger equals the truth, whatever is killed whenever."""

from pathlib import Path

import pytest

from tests.storm.__main__ import Progress, play
from tests.storm.result import Size
from tests.testbed.binaries import Binaries

pytestmark = [pytest.mark.cluster, pytest.mark.storm]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_ledger_of_a_storm_equals_what_became_of_each_pod(
    killable_programs: Binaries, tmp_path: Path, seed: int
) -> None:
    result = play(Size(seed, kills=30, pods=300), killable_programs, tmp_path, Progress())
    assert not result.judged.faults, result.failure()
    assert sum(map(len, result.killed.values())) == 30
    assert len(result.judged.truths) >= 300
