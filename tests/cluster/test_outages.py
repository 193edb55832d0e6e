"""The ledger's database goes away and comes back: metering, statuses and heartbeats go on, and all is written after."""

import contextlib
import http.client
import json
import resource
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hubquota.domain.pods import micros
from tests.cluster.test_caps import Watched
from tests.cluster.test_operator import POLICY, ago, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.patience import until
from tests.testbed.postgres import Postgres
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster
ENDS = "SELECT name, finished, how_ended FROM pods ORDER BY name"


class Cut(Watched):
    """A bench whose operator has a database that goes away."""

    def away(self) -> None:
        """Whether it is said on every way: metric, condition, heartbeat, readiness."""
        eventually(lambda: self.metric("ledger_available") == 0, self.program)
        eventually(lambda: self.ledger_away() == "True", self.program)
        eventually(lambda: "hubquota.dev/ledger-away-since" in self.heartbeat(), self.program)
        eventually(lambda: self.ready() == (503, f"hub {self.namespace}: {AWAY}\n"), self.program)

    def back(self) -> None:
        """The same of its return."""
        eventually(lambda: self.metric("ledger_available") == 1, self.program)
        eventually(lambda: self.ledger_away() != "True", self.program)
        eventually(lambda: "hubquota.dev/ledger-away-since" not in self.heartbeat(), self.program)
        eventually(lambda: self.ready() == (200, "ok\n"), self.program)
        eventually(lambda: self.metric("ledger_waiting_pods") == 0, self.program)

    def begin(self) -> None:
        self.create(POLICY)
        self.program = self.started(heartbeat_interval=1, resync_interval=5)
        self.start, self.end_of_bob, self.end_of_alice = ago(900), ago(600), ago(300)
        self.place("jupyter-alice", "alice", self.start)
        self.place("jupyter-bob", "bob", self.start)
        self.end("jupyter-bob", self.end_of_bob)
        eventually(lambda: self.used_seconds("alice") > 0 and self.is_exact("bob", self.end_of_bob), self.program)
        eventually(lambda: self.metric("heartbeat_timestamp_seconds") > 0, self.program)

    def goes_on(self) -> None:
        """Alice's server ends, and carol's, who is new, is seen: both while the database is away."""
        beat = self.metric("heartbeat_timestamp_seconds")
        self.end("jupyter-alice", self.end_of_alice)
        self.place("jupyter-carol", "carol", ago(30))
        eventually(lambda: self.is_exact("alice", self.end_of_alice), self.program)
        eventually(lambda: len(self.status("carol").get("running", ())) == 1, self.program)
        eventually(lambda: self.metric("heartbeat_timestamp_seconds") > beat + 2, self.program)
        assert self.metric("ledger_waiting_pods") > 0

    def is_exact(self, user: str, end: str) -> bool:
        return abs(self.used_seconds(user) - (micros(end) - micros(self.start)) / 1_000_000) < 0.01

    def ledger_away(self) -> str:
        return str(self.condition("qp", "weekly", "LedgerAway").get("status"))

    def heartbeat(self) -> dict[str, Any]:
        lease = self.read("lease", "hubquota-heartbeat")
        return dict(lease["metadata"].get("annotations") or {})

    def ready(self) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""


AWAY = "the ledger cannot be written, metering goes on in memory"


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path)
    server.start()
    yield server
    server.remove()


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Cut]:
    found = Cut(api, namespace, tmp_path)
    yield found
    found.program.kill()


@contextlib.contextmanager
def stopped(server: Postgres) -> Iterator[None]:
    server.stop()
    yield
    server.start()


@contextlib.contextmanager
def killed(server: Postgres) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextlib.contextmanager
def hanging(server: Postgres) -> Iterator[None]:
    server.pause()
    yield
    server.resume()


def is_read_only(server: Postgres) -> str:
    """What a new connection is told; those that are open have been told by then."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        told = connection.execute("SHOW default_transaction_read_only").fetchone()
    assert told is not None
    return str(told[0])


@contextlib.contextmanager
def read_only(server: Postgres) -> Iterator[None]:
    """As a standby is, or a primary whose disk is nearly full."""
    to = "ALTER SYSTEM SET default_transaction_read_only = {}"
    for value, then in (("on", True), ("off", False)):
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(to.format(value))
            connection.execute("SELECT pg_reload_conf()")
        until(lambda value=value: is_read_only(server) == value)  # type: ignore[misc]
        if then:
            yield


@pytest.mark.postgresql
@pytest.mark.parametrize("outage", [stopped, killed, hanging, read_only])
def test_without_postgresql_everything_goes_on_and_is_written_after(
    bench: Cut, own_postgres: Postgres, outage: Callable[[Postgres], "contextlib.AbstractContextManager[None]"]
) -> None:
    bench.database = own_postgres.database()
    bench.begin()
    with outage(own_postgres):
        bench.goes_on()
        bench.away()
        limit = {"spec": {"limit": {"value": "0.1", "unit": "GiB-hours"}}}
        bench.do("patch", "qp", "weekly", "--type=merge", "-p", json.dumps(limit))
        eventually(lambda: bench.status("alice")["decision"] == "Denied", bench.program)
    bench.back()
    with psycopg.connect(bench.database) as connection:
        rows = connection.execute(ENDS).fetchall()
        generations = connection.execute("SELECT generation FROM policy_revisions ORDER BY generation").fetchall()
    assert [row[0] for row in rows] == ["jupyter-alice", "jupyter-bob", "jupyter-carol"]
    assert rows[0][1:] == (micros(bench.end_of_alice), "Containers")
    assert rows[2][1] is None
    assert generations == [(1,), (2,)]


@contextlib.contextmanager
def full_disk(program: Program) -> Iterator[None]:
    """No file of the operator's may grow past 4 KiB, so the ledger's journal takes no more."""
    before = resource.prlimit(program.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.prlimit(program.pid, resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def locked(bench: Cut) -> Iterator[None]:
    """Another process holds the file for as long as it likes."""
    with contextlib.closing(sqlite3.connect(bench.folder / "ledger.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("outage", ["a full disk", "a file that another has locked"])
def test_so_it_does_where_sqlite_cannot_write(bench: Cut, outage: str) -> None:
    bench.begin()
    with full_disk(bench.program) if outage == "a full disk" else locked(bench):
        bench.goes_on()
        bench.away()
    bench.back()
    with contextlib.closing(sqlite3.connect(bench.folder / "ledger.db")) as connection:
        rows = connection.execute(ENDS).fetchall()
    assert [row[0] for row in rows] == ["jupyter-alice", "jupyter-bob", "jupyter-carol"]
    assert rows[0][1:] == (micros(bench.end_of_alice), "Containers")


@pytest.mark.postgresql
def test_an_operator_that_is_started_without_its_database_waits_for_it_and_says_so(
    bench: Cut, own_postgres: Postgres
) -> None:
    bench.database = own_postgres.database()
    bench.begin()
    bench.killed(bench.program)
    with stopped(own_postgres):
        bench.program.start()
        eventually(lambda: bench.ready() == (503, "waits for the ledger\n"), bench.program)
        assert "check host and port in database_url" in bench.program.last_words()
        bench.end("jupyter-alice", bench.end_of_alice)
    eventually(lambda: bench.is_exact("alice", bench.end_of_alice), bench.program)
    eventually(lambda: bench.ready() == (200, "ok\n"), bench.program)


@pytest.mark.postgresql
def test_one_whose_database_goes_away_while_it_starts_tells_nobody_a_standing_that_it_did_not_read(
    bench: Cut, own_postgres: Postgres
) -> None:
    bench.database = own_postgres.database()
    bench.begin()
    bench.killed(bench.program)
    before = bench.status("bob")
    with psycopg.connect(bench.database) as holder:
        holder.execute("LOCK TABLE pods IN ACCESS EXCLUSIVE MODE")
        bench.program.start()
        told = f"hub {bench.namespace}: its past is being read\n"
        eventually(lambda: "waits for the ledger" in bench.program.last_words(), bench.program)
        assert bench.ready() == (503, told)
        assert bench.status("bob") == before
    eventually(lambda: bench.ready() == (200, "ok\n"), bench.program)
    assert bench.is_exact("bob", bench.end_of_bob)
