"""``hubquota replay`` says what every scenario expects, from files alone."""

from pathlib import Path

import pytest

from tests.scenarios.replaying import faults
from tests.scenarios.table import through
from tests.scenarios.vocabulary import Case, Runner


@pytest.mark.parametrize("case", through(Runner.REPLAY), ids=lambda case: case.name)
def test_replay_says_that(case: Case, tmp_path: Path) -> None:
    assert list(faults(case, tmp_path)) == []
