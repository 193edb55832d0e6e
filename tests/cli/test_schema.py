"""An admin upgrades a ledger and checks it, on each database."""

import asyncio

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from hubquota.cli import main
from hubquota.ledger import migrations
from hubquota.ledger.engine import connect
from tests.testbed.postgres import Postgres


@pytest.fixture(autouse=True)
def found(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The command finds the ledger by its settings."""
    monkeypatch.setenv("HUBQUOTA_DATABASE_URL", url)
    return url


def ended(code: int, *args: str) -> str:
    done = CliRunner().invoke(main, ["ledger", *args])
    assert done.exit_code == code, done.output
    return done.output


def at(url: str, revision: str) -> None:
    """A ledger as an earlier version left it."""

    async def make() -> None:
        engine = connect(url)
        await migrations.upgrade(engine, revision)
        await engine.dispose()

    asyncio.run(make())


def changed(url: str, statement: str) -> None:
    async def run() -> None:
        engine = connect(url)
        async with engine.execution_options(writes=True).begin() as connection:
            await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(run())


def test_an_upgrade_tells_from_where_to_where_and_a_check_that_it_fits(url: str) -> None:
    head = migrations.head()
    at(url, "0001")
    assert f"is at revision 0001, and this version works on {head}: make a backup and run" in ended(1, "check")
    assert ended(0, "upgrade") == f"0001 → {head}\n"
    assert ended(0, "upgrade") == f"the ledger is at revision {head} already\n"
    assert ended(0, "check") == f"the ledger is at revision {head}, as this version works on\n"


def test_an_upgrade_makes_a_ledger_where_none_is(url: str) -> None:
    if url.startswith("sqlite"):
        assert "there is no ledger at" in ended(2, "check")
    else:
        assert "there are no tables yet: run hubquota ledger upgrade" in ended(1, "check")
    assert ended(0, "upgrade") == f"nothing → {migrations.head()}\n"


def test_a_newer_ledger_is_told_and_left_alone(url: str) -> None:
    ended(0, "upgrade")
    changed(url, "UPDATE alembic_version SET version_num = '9999'")
    assert "the revision 9999" in ended(1, "check")
    assert "run the version that upgraded it, or a newer one" in ended(2, "upgrade")


def test_tables_that_somebody_changed_are_told(url: str) -> None:
    ended(0, "upgrade")
    changed(url, "DROP INDEX ix_decisions_hub_at")
    told = ended(1, "check")
    assert told.startswith("somebody else has changed the tables")
    assert "ix_decisions_hub_at" in told


@pytest.mark.postgresql
def test_not_having_looked_is_not_a_difference(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBQUOTA_DATABASE_URL", postgres.url_of("postgres", password="hunter2"))
    told = ended(2, "check")
    assert "the password in database_password_file" in told
    assert "hunter2" not in told
    for url in ("mysql://u:hunter2@db/x", "hunter2"):
        monkeypatch.setenv("HUBQUOTA_DATABASE_URL", url)
        assert "hunter2" not in ended(2, "check")
