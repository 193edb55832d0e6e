"""A leader that is cut off but alive, or was asleep, stops writing; the standby goes on where it stopped."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubquota.domain.pods import micros
from tests.cluster.test_operator import POLICY, Bench, ago, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.postgres import Postgres
from tests.testbed.processes import Program
from tests.testbed.terms import LASTING, QUICK, Terms

pytestmark = [pytest.mark.cluster, pytest.mark.postgresql]


class Pair(Bench):
    """A leader and a standby on one PostgreSQL; alice's server runs."""

    terms: Terms = QUICK

    def begin(self) -> None:
        self.create(POLICY)
        self.leader, self.standby = (self.operator(name, self.terms) for name in ("leader", "standby"))
        self.start = ago(900)
        self.place("jupyter-alice", "alice", self.start)
        self.leader.start()
        eventually(lambda: self.used_seconds("alice") > 0 and "is served" in self.leader.last_words(), self.leader)
        self.standby.start()
        eventually(lambda: "waits for the writer's Lease" in self.standby.last_words(), self.standby)

    def exact(self, end: str) -> bool:
        return abs(self.used_seconds("alice") - (micros(end) - micros(self.start)) / 1_000_000) < 0.01


@pytest.fixture
def pair(
    api: ControlPlane, namespace: str, tmp_path: Path, postgres: Postgres, request: pytest.FixtureRequest
) -> Iterator[Pair]:
    """``request.param``: the terms of their Lease."""
    url = postgres.database()
    found = Pair(api, namespace, tmp_path, url)
    found.terms = getattr(request, "param", QUICK)
    found.begin()
    yield found
    for program in (found.leader, found.standby):
        if program.running:
            os.kill(program.pid, signal.SIGCONT)
        program.kill()
    postgres.drop(url)


def ended(program: Program, other: Program) -> None:
    eventually(lambda: not program.running, other)


def test_a_leader_that_slept_through_its_lease_wakes_up_and_writes_nothing(pair: Pair) -> None:
    os.kill(pair.leader.pid, signal.SIGSTOP)
    end = ago(100)
    pair.end("jupyter-alice", end)
    pair.place("jupyter-bob", "bob", ago(50))
    eventually(lambda: pair.exact(end) and pair.used_seconds("bob") > 0, pair.standby)
    statuses = pair.read("uq", "alice")
    os.kill(pair.leader.pid, signal.SIGCONT)
    ended(pair.leader, pair.standby)
    # Its own clock tells it, or the database: whichever it asks first.
    words = ("ends: the writer's Lease could not be renewed in time", "this operator was taken for dead")
    assert any(told in pair.leader.last_words() for told in words)
    assert pair.read("uq", "alice") == statuses
    assert pair.exact(end)


@pytest.mark.parametrize("pair", [LASTING], indirect=True, ids=["lasting"])
def test_a_leader_that_was_taken_for_dead_is_kept_from_the_ledger_by_the_database(pair: Pair) -> None:
    """Its Lease is still its own, as far as it knows: another operator has another one by mistake."""
    third = pair.operator("third")
    third.env = {**third.env, "HUBQUOTA_OPERATOR_NAMESPACE": "default"}
    pair.standby.kill()
    pair.api.kubectl("create", "clusterrolebinding", pair.namespace, "--clusterrole=cluster-admin",
                     f"--serviceaccount={pair.namespace}:hubquota-operator")  # fmt: skip
    try:
        third.start()
        eventually(lambda: "is served" in third.last_words(), third)
        pair.place("jupyter-bob", "bob", ago(50))
        ended(pair.leader, third)
        assert "this operator was taken for dead" in pair.leader.last_words()
        eventually(lambda: pair.used_seconds("bob") > 0, third)
    finally:
        third.kill()
        pair.api.kubectl("delete", "clusterrolebinding", pair.namespace)


def test_a_leader_that_ends_in_order_hands_over_without_a_wait(pair: Pair) -> None:
    pair.leader.stop()
    end = ago(100)
    pair.end("jupyter-alice", end)
    eventually(lambda: pair.exact(end), pair.standby)
    assert "told to stop" in pair.leader.last_words()
