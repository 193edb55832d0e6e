"""The operator with its ledger on PostgreSQL: killed, and cut off from its database, it charges to the second."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubquota.domain.pods import micros
from tests.cluster.test_operator import POLICY, Bench, ago, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.patience import PATIENCE
from tests.testbed.postgres import Postgres
from tests.testbed.terms import QUICK

pytestmark = [pytest.mark.cluster, pytest.mark.postgresql]


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path, postgres: Postgres) -> Iterator[Bench]:
    url = postgres.database()
    yield Bench(api, namespace, tmp_path, url)
    postgres.drop(url)


def seconds(start: str, end: str) -> float:
    return (micros(end) - micros(start)) / 1_000_000


def test_usage_is_exact_after_the_operator_was_killed_while_a_server_ended(bench: Bench) -> None:
    bench.create(POLICY)
    program, start, end = bench.operator(), ago(900), ago(100)
    program.start()
    bench.place("jupyter-alice", "alice", start)
    bench.place("jupyter-bob", "bob", start)
    eventually(lambda: bench.used_seconds("alice") > 0 and bench.used_seconds("bob") > 0, program)
    bench.killed(program)
    bench.end("jupyter-alice", end)
    program.start()
    try:
        eventually(lambda: abs(bench.used_seconds("alice") - seconds(start, end)) < 0.01, program)
        bench.end("jupyter-bob", later := ago(50))
        eventually(lambda: abs(bench.used_seconds("bob") - seconds(start, later)) < 0.01, program)
    finally:
        program.stop()


def test_a_standby_goes_on_with_the_ledger_of_one_that_was_killed(bench: Bench) -> None:
    bench.create(POLICY)
    first, second = bench.operator("first", QUICK), bench.operator("second", QUICK)
    start, end = ago(900), ago(100)
    try:
        first.start()
        bench.place("jupyter-alice", "alice", start)
        eventually(lambda: bench.used_seconds("alice") > 0, first)
        second.start()
        eventually(lambda: "waits for the writer's Lease" in second.last_words(), second)
        first.kill()
        bench.end("jupyter-alice", end)
        eventually(lambda: abs(bench.used_seconds("alice") - seconds(start, end)) < 0.01, second)
    finally:
        first.kill()
        second.stop()


def test_an_operator_that_cannot_reach_its_ledger_says_what_to_check_and_no_password(
    bench: Bench, postgres: Postgres
) -> None:
    bench.database = postgres.url_of("postgres", password="hunter2")
    program = bench.operator()
    program.start()
    deadline = time.monotonic() + PATIENCE
    while program.running:
        assert time.monotonic() < deadline, program.last_words()
        time.sleep(0.1)
    told = program.last_words(100_000)
    assert "the password in database_password_file" in told
    assert "Traceback" not in told
    assert "hunter2" not in told
