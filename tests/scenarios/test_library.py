"""The library says what every scenario expects; the hook, by its statuses, judges launches as the engine does."""

import pytest

from tests.scenarios.library import faults
from tests.scenarios.table import through
from tests.scenarios.vocabulary import Case, Runner


@pytest.mark.parametrize("case", through(Runner.LIBRARY), ids=lambda case: case.name)
def test_the_library_says_that(case: Case) -> None:
    assert list(faults(case)) == []
