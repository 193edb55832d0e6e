"""A user whose UserQuota is deleted is gone from the ledger too, whether or not an operator looked; with usage, not."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from hubquota.ledger import Ledger
from hubquota.ledger.tables import hub_users
from tests.cluster.test_caps import Watched
from tests.cluster.test_operator import POLICY, ago, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster


class Bench(Watched):
    """A hub whose users come and go."""

    def present(self, user: str) -> list[bool]:
        """For each stretch of a user in the hub, whether it goes on."""

        async def read() -> list[bool]:
            query = select(hub_users.c.end).where(hub_users.c.user == user).order_by(hub_users.c.start)
            async with await Ledger.open(self.database) as ledger, ledger.reading() as connection:
                return [end is None for end in (await connection.execute(query)).scalars()]

        return asyncio.run(read())


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Bench:
    return Bench(api, namespace, tmp_path)


@pytest.fixture
def operator(bench: Bench) -> Iterator[Program]:
    program = bench.started(resync_interval=5)
    bench.create(POLICY)
    yield program
    program.stop()


def test_a_user_is_gone_with_the_user_quota_and_comes_back_with_another(bench: Bench, operator: Program) -> None:
    bench.user_quota("alice", "alice")
    eventually(lambda: bench.present("alice") == [True], operator)
    bench.do("delete", "uq", "alice")
    eventually(lambda: bench.present("alice") == [False], operator)
    bench.user_quota("alice", "alice")
    eventually(lambda: bench.present("alice") == [False, True], operator)


def test_who_went_while_no_operator_ran_is_gone_and_who_has_usage_stays(bench: Bench, operator: Program) -> None:
    bench.user_quota("alice", "alice")
    bench.place("jupyter-bob", "bob", ago(600))
    bench.end("jupyter-bob", ago(60))
    eventually(lambda: bench.present("alice") == bench.present("bob") == [True], operator)
    eventually(lambda: bench.used_seconds("bob") > 0, operator)
    bench.killed(operator)
    bench.do("delete", "uq", "alice", "bob")
    operator.start()
    eventually(lambda: bench.present("alice") == [False], operator)
    eventually(lambda: bench.used_seconds("bob") > 0, operator)
    assert bench.present("bob") == [True]
