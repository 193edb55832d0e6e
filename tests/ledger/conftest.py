"""A ledger of its own for each test that asks for one, on each database."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from hubquota.ledger import Ledger
from tests.testbed.postgres import Postgres

DATABASES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
#: Gives a place where a ledger can be made, another each time.
NewUrl = Callable[[], str]


@pytest.fixture(params=DATABASES)
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewUrl]:
    """Places of ledgers that are not there yet."""
    made: list[str] = []
    if request.param == "sqlite":

        def new() -> str:
            made.append(f"sqlite:///{tmp_path / f'hubquota.db{len(made) or str()}'}")
            return made[-1]

        yield new
        return
    server: Postgres = request.getfixturevalue("postgres")

    def database() -> str:
        made.append(server.database())
        return made[-1]

    yield database
    for url in made:
        server.drop(url)


@pytest.fixture
def url(new_url: NewUrl) -> str:
    """Where a ledger can be made; it is not there yet."""
    return new_url()


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[Ledger]:
    """An empty ledger of cluster ``default``."""
    async with await Ledger.open(url) as opened:
        yield opened


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A PostgreSQL of a test's own, for those that kill or pause it, or set it up otherwise. Not started."""
    server = Postgres(tmp_path)
    yield server
    server.remove()
