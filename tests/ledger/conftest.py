"""A ledger of its own for each test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hubquota.ledger import Ledger


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Where a ledger can be made; the file is not there yet."""
    return f"sqlite:///{tmp_path / 'hubquota.db'}"


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    """An empty ledger of cluster ``default``."""
    async with await Ledger.open(url) as opened:
        yield opened
