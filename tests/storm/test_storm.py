"""The ledger equals the truth, whatever is killed whenever."""

from pathlib import Path

import pytest

from tests.storm.__main__ import Progress, play
from tests.storm.size import Database, Size
from tests.testbed.binaries import Binaries

pytestmark = [pytest.mark.cluster, pytest.mark.storm]

ON_SQLITE = (Database.SQLITE,)
ON_POSTGRESQL = (Database.POSTGRESQL,)
ON_BOTH = (Database.SQLITE, Database.POSTGRESQL)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("seed", "databases"),
    [
        (2, ON_SQLITE),
        pytest.param(3, ON_POSTGRESQL, marks=pytest.mark.postgresql),
        pytest.param(5, ON_BOTH, marks=pytest.mark.postgresql),
    ],
    ids=["sqlite", "postgresql", "both"],
)
def test_the_ledger_of_a_storm_equals_what_became_of_each_pod(
    killable_programs: Binaries, tmp_path: Path, seed: int, databases: tuple[Database, ...]
) -> None:
    result = play(Size(seed, 30, 300, databases), killable_programs, tmp_path, Progress())
    assert not result.faults, result.failure()
    assert result.kills.total() >= 30
    assert result.pods >= 300
