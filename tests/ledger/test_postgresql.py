"""PostgreSQL may go away, hang, come back, ask for TLS, and give few rights: the ledger errs in time and says why."""

import asyncio
import gc
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from hubquota.ledger import Ledger, LedgerError, SchemaError, migrations, postgresql
from hubquota.ledger.engine import connect
from tests.ledger.conftest import NewUrl
from tests.ledger.pods import pod
from tests.testbed.certificates import Authority
from tests.testbed.postgres import Postgres

pytestmark = pytest.mark.postgresql
#: Seconds within which a server that hangs has to lead to an error.
BOUND = 25
HUNG: dict[str, Callable[[Ledger], Awaitable[object]]] = {
    "a write": lambda ledger: ledger.record([pod("u2")]),
    "a read": lambda ledger: ledger.open_pods("hub"),
    "a start": lambda ledger: _drained(ledger),
}


async def _drained(ledger: Ledger) -> None:
    async for _ in ledger.digests("hub", 0, 1000):
        pass


async def test_a_server_that_hangs_leads_to_errors_in_time_and_all_goes_on_when_it_answers(
    own_postgres: Postgres,
) -> None:
    own_postgres.start()
    async with await Ledger.open(own_postgres.url) as ledger:
        await ledger.record([pod()])
        own_postgres.pause()
        async with asyncio.timeout(BOUND):
            told = await asyncio.gather(*(ask(ledger) for ask in HUNG.values()), return_exceptions=True)
        assert [type(t) for t in told if not isinstance(t, SQLAlchemyError)] == []
        own_postgres.resume()
        await ledger.record([pod("u3")])
        assert {p.uid for p in await ledger.open_pods("hub")} == {"u1", "u3"}
    del told
    gc.collect()  # what was given up is no warning


async def test_a_ledger_on_a_server_that_hangs_is_refused_in_time(own_postgres: Postgres) -> None:
    own_postgres.start()
    own_postgres.pause()
    async with asyncio.timeout(BOUND):
        assert "that the database runs and can be reached" in await _refused(own_postgres.url)
    own_postgres.resume()


async def test_a_write_that_is_cancelled_while_the_server_hangs_ends_in_time(own_postgres: Postgres) -> None:
    own_postgres.start()
    async with await Ledger.open(own_postgres.url) as ledger:
        await ledger.record([pod()])
        own_postgres.pause()
        write = asyncio.create_task(ledger.record([pod("u2")]))
        await asyncio.sleep(0)
        write.cancel()
        async with asyncio.timeout(BOUND):
            await asyncio.wait([write])
        assert write.cancelled()
        own_postgres.resume()


async def test_what_was_acknowledged_is_there_after_a_kill_and_the_ledger_goes_on(own_postgres: Postgres) -> None:
    own_postgres.start()
    async with await Ledger.open(own_postgres.url) as ledger:
        await ledger.record([pod()])
        own_postgres.kill()
        with pytest.raises(SQLAlchemyError):
            await ledger.record([pod("u2")])
        own_postgres.start()
        await ledger.record([pod("u3")])
        assert {p.uid for p in await ledger.open_pods("hub")} == {"u1", "u3"}


async def test_a_server_that_was_restarted_while_nothing_was_asked_fails_nobody(own_postgres: Postgres) -> None:
    own_postgres.start()
    async with await Ledger.open(own_postgres.url) as ledger:
        await ledger.record([pod()])
        own_postgres.stop()
        own_postgres.start()
        await ledger.record([pod("u2")])


async def test_a_writer_that_is_cut_off_in_a_transaction_holds_others_up_for_seconds(postgres: Postgres) -> None:
    url = postgres.database()
    async with await Ledger.open(url) as ledger:
        async with ledger._engine.connect() as connection:
            settings = [
                (await connection.execute(text(f"SHOW {name}"))).scalar()
                for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
            ]
        assert settings == ["10s", "10s", "10s"]
    postgres.drop(url)


async def test_whoever_reads_all_of_history_is_given_the_time_for_it_and_nobody_after(postgres: Postgres) -> None:
    url = postgres.database()
    async with await Ledger.open(url) as ledger:
        for reading, told in ((ledger.reading(), "1h"), (ledger._engine.begin(), "10s")):
            async with reading as connection:
                assert (await connection.execute(text("SHOW statement_timeout"))).scalar() == told
    postgres.drop(url)


async def test_operators_that_start_at_once_upgrade_once(postgres: Postgres) -> None:
    url = postgres.database()
    opened = await asyncio.gather(*(Ledger.open(url) for _ in range(5)))
    await asyncio.gather(*(ledger.close() for ledger in opened))
    postgres.drop(url)


async def test_a_ledger_of_a_newer_version_is_left_alone(new_url: NewUrl) -> None:
    url = new_url()
    async with await Ledger.open(url) as ledger:
        await ledger.writing(lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")))
    with pytest.raises(SchemaError, match=r"the revision 9999, .* up to \d+: run the version that upgraded it"):
        await Ledger.open(url)


#: What docs/ledger.md has.
GUIDE = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text()
GRANTS = GUIDE.split("```sql\n")[1].split("```")[0]


def test_the_guide_tells_the_timeouts_as_they_are() -> None:
    told = GUIDE.partition("## Timeouts")[2]
    for row in (
        f"| a statement, a wait for a lock | {postgresql.STATEMENT} s,",
        f"| an answer of any kind | {postgresql.ANSWER} s,",
        f"| a transaction whose owner says nothing | {postgresql.STATEMENT} s,",
        f"an hour in place of {postgresql.STATEMENT} and {postgresql.ANSWER} s",
        f"An operator has {postgresql.POOL['pool_size'] + postgresql.POOL['max_overflow']} at most",
    ):
        assert row in told
    assert postgresql.PATIENT == 3600


@pytest.fixture
def roles(own_postgres: Postgres) -> Callable[[str], str]:
    """The roles of the guide, and the URL of one."""
    own_postgres.start()
    before, _, after = GRANTS.partition("\\connect hubquota\n")
    own_postgres.run(*(sql.SQL(s) for s in before.split(";") if s.strip()))
    own_postgres.run(*(sql.SQL(s) for s in after.split(";") if s.strip()), database="hubquota")
    return lambda user: own_postgres.url_of("hubquota", user, "change-me")


async def test_a_role_that_may_only_write_runs_a_ledger_that_its_owner_upgraded(roles: Callable[[str], str]) -> None:
    with pytest.raises(LedgerError, match=r"permission denied.*hubquota ledger upgrade as the owner"):
        await Ledger.open(roles("hubquota_writer"))
    async with await Ledger.open(roles("hubquota_owner")):
        pass
    async with await Ledger.open(roles("hubquota_writer")) as ledger:
        await ledger.covered_since("hub", 0)
        await ledger.record([pod()])
        with pytest.raises(SQLAlchemyError, match="permission denied"):
            await ledger.writing(lambda c: c.execute(text("CREATE TABLE mine (a int)")))
        with pytest.raises(SQLAlchemyError, match="must be owner"):
            await ledger.writing(lambda c: c.execute(text("DROP TABLE pods")))
    async with await Ledger.open(roles("hubquota_reader")) as ledger:
        assert [p.uid for p in await ledger.open_pods("hub")] == ["u1"]
        with pytest.raises(SQLAlchemyError, match="permission denied"):
            await ledger.record_user("hub", "bob", 1)


async def test_tls_is_checked_against_the_authority_that_is_named(own_postgres: Postgres, tmp_path: Path) -> None:
    authority, other = Authority("ours"), Authority("another")
    own_postgres.secure(authority)
    own_postgres.start()
    for name, one in (("ours.pem", authority), ("other.pem", other)):
        (tmp_path / name).write_bytes(one.certificate)

    def url(more: str) -> str:
        return f"{own_postgres.url}?sslmode={more}"

    async with await Ledger.open(url(f"verify-full&sslrootcert={tmp_path}/ours.pem")) as ledger:
        query = text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        async with ledger.reading() as connection:
            assert (await connection.execute(query)).scalar() is True
    for more, told in (
        (f"verify-full&sslrootcert={tmp_path}/other.pem", "not signed by the CA in the file of sslrootcert"),
        (f"verify-full&sslrootcert={tmp_path}/none.pem", "sslrootcert in database_url names no file"),
        ("disable", "or by TLS only: check sslmode"),
    ):
        assert told in await _refused(url(more))


async def _refused(url: str) -> str:
    """The one line of a ledger that cannot be opened."""
    with pytest.raises(LedgerError) as caught:
        await Ledger.open(url)
    whole = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in whole
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_why_it_cannot_be_opened_is_one_line_that_says_what_to_check(postgres: Postgres) -> None:
    for url, told in (
        (postgres.url_of("postgres", password="hunter2"), "the password in database_password_file"),
        (postgres.url_of("postgres", user="nobody", password="hunter2"), "check the user in database_url"),
        (postgres.url_of("nowhere"), "check the database's name in database_url, or make it"),
        ("postgresql://u:hunter2@127.0.0.1:1/d", "check host and port in database_url"),
        ("postgresql://u:hunter2@nowhere.invalid/d", "check host and port in database_url"),
    ):
        assert told in await _refused(url)


@pytest.mark.parametrize("url", ["postgresql://u:p@hunter2:x@host/d", "hunter2"])
def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(Exception, match=r"database_url cannot be read: write .* %40") as caught:
        connect(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


async def test_the_differences_of_a_schema_are_told_and_other_tables_are_not(new_url: NewUrl) -> None:
    engine = connect(new_url())
    try:
        await migrations.upgrade(engine)
        async with engine.execution_options(writes=True).begin() as connection:
            await connection.execute(text("CREATE TABLE others (a int)"))
        assert await migrations.differences(engine) == []
        async with engine.execution_options(writes=True).begin() as connection:
            await connection.execute(text("DROP INDEX ix_decisions_hub_at"))
        [told] = await migrations.differences(engine)
        assert "ix_decisions_hub_at" in told
    finally:
        await engine.dispose()
