"""Storms need the cores that they get: one at a time, and first of all, for they take longest."""

from collections.abc import Iterator

import pytest

from tests.testbed.binaries import cache, locked

_STORMS = "storm"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them at the head: workers take tests in order, so one worker has them all, and none is left for the end."""
    items.sort(key=lambda item: item.get_closest_marker(_STORMS) is None)


@pytest.fixture
def alone() -> Iterator[None]:
    """One storm at a time, whichever workers have them."""
    cache().mkdir(parents=True, exist_ok=True)
    with locked(cache() / ".storm.lock"):
        yield
