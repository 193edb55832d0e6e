"""A writer killed at any moment leaves a ledger that reads well, and has all that it acknowledged."""

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import psycopg
from sqlalchemy import func, select

from hubquota.domain.history import PodRecord
from hubquota.ledger import Ledger
from hubquota.ledger.engine import connect
from hubquota.ledger.tables import pods
from tests.ledger.conftest import NewUrl
from tests.ledger.writer import SIZE, batch
from tests.testbed.patience import until

WRITER = Path(__file__).with_name("writer.py")
KILLS = 8


def _killed_at_its_start(url: str, after: float) -> None:
    """A writer that makes the schema or writes when it is killed, ``after`` seconds from its first connection."""
    with subprocess.Popen([sys.executable, WRITER, url, "start"], stdout=subprocess.DEVNULL) as writer:
        until(lambda: _is_open(url))
        time.sleep(after)
        writer.kill()


def _is_open(url: str) -> bool:
    """Whether somebody has come to a database."""
    if url.startswith("sqlite:///"):
        return Path(url.removeprefix("sqlite:///")).exists()
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(others).fetchone() is not None


def _killed(url: str, turn: int, after: float) -> list[tuple[str, str]]:
    """What a writer says that it has written until it is killed, ``after`` seconds from its first word."""
    with subprocess.Popen([sys.executable, WRITER, url, str(turn)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        time.sleep(after)
        writer.kill()  # SIGKILL
        lines = [first, *writer.stdout.read().splitlines(keepends=True)]
    return [(state, number) for state, number in (line.split() for line in lines if line.endswith("\n"))]


async def _all(url: str) -> dict[str, PodRecord]:
    async with await Ledger.open(url) as ledger:
        held = await ledger.history("hub", -1)
    return {record.uid: record for records in held.values() for record in records}


async def test_a_writer_killed_in_the_middle_of_writes_leaves_a_readable_ledger(url: str) -> None:
    chance = random.Random(20261124)
    told: list[tuple[str, str]] = []
    for turn in range(KILLS):
        told += _killed(url, turn, chance.uniform(0.0, 0.3))
        kept = await _all(url)
        _check_acknowledged(told, kept)
        # A batch is there whole or not at all.
        assert set(Counter(uid.partition("/")[0] for uid in kept).values()) == {SIZE}
    assert await _faults(url) == []


def test_a_writer_killed_while_it_makes_the_schema_leaves_what_the_next_can_use(new_url: NewUrl) -> None:
    for after in (0.0, 0.05, 0.1, 0.2):
        url = new_url()
        _killed_at_its_start(url, after)
        kept = asyncio.run(_all(url))
        assert set(Counter(uid.partition("/")[0] for uid in kept).values()) <= {SIZE}


def _check_acknowledged(told: list[tuple[str, str]], kept: dict[str, PodRecord]) -> None:
    for state, number in told:
        for record in batch(number, ended=state == "ended"):
            found = kept[record.uid]
            assert (found.groups, [s.request for s in found.segments]) == (record.groups, [1000, 2**30])
            assert state == "open" or found.end == record.end


async def _faults(url: str) -> list[str]:
    """What SQLite itself finds wrong with the file, and rows that are there twice."""
    engine, told, orphans = connect(url), list[str](), list[object]()
    try:
        async with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                told = list((await connection.exec_driver_sql("PRAGMA integrity_check")).scalars())
                orphans = list((await connection.exec_driver_sql("PRAGMA foreign_key_check")).all())
            twice = (await connection.execute(select(pods.c.uid).group_by(pods.c.uid).having(func.count() > 1))).all()
        return [t for t in told if t != "ok"] + [str(row) for row in (*orphans, *twice)]
    finally:
        await engine.dispose()
