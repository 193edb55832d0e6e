"""A second opinion for the tests that ask for one."""

from collections.abc import Iterator

import pytest

from tests.testbed.binaries import built_oracle
from tests.testbed.oracle import Oracle


@pytest.fixture(scope="session")
def oracle() -> Iterator[Oracle]:
    """Kubernetes' own code, running."""
    with Oracle(built_oracle()) as running:
        yield running
