"""Both hooks do the same work: on the same history they let the same launches through and refuse the same ones."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.history import DAY, Hub
from tests.bench.hook.bench import both, filled
from tests.bench.hook.cells import audit, faults
from tests.bench.hook.samples import Counted
from tests.bench.hook.statuses import fill, hub_kubeconfig
from tests.bench.hook.workers import PYTHON, Round
from tests.bench.hook.world import World
from tests.hub.interpreters import interpreter
from tests.testbed.control_plane import ControlPlane

SMALL = Hub(users=60, days=5)
#: Of the users, as many are over each limit.
MANY = 0.3


@pytest.mark.cluster
@pytest.mark.prometheus
def test_both_refuse_the_same_users(api: ControlPlane, namespace: str, tmp_path: Path) -> None:
    if interpreter(PYTHON) is None:
        pytest.skip(f"no Python {PYTHON} on this machine")
    world = World(replace(SMALL, until=int(time.time())), MANY)
    asyncio.run(fill(api, namespace, world, world.limits))
    refused = sum(person.refused(world.limits) for person in world.people)
    assert 0 < refused < len(world.people)
    kubeconfig = hub_kubeconfig(api, namespace)
    with (
        filled(world, tmp_path / "prometheus") as server,
        both(namespace, kubeconfig, server, world.limits, tmp_path) as workers,
    ):
        assert audit(world, world.limits, *workers) == []
        # What if nothing were to be refused: then each refusal is seen as wrong, of either.
        assert len(audit(world, [], *workers)) == 2 * refused


def test_users_are_compared_only_where_the_peer_counts_what_they_used() -> None:
    world = World(SMALL, MANY)
    names = {person.launch.user for person in world.people}
    # It charges "s" and "al" for all whose names begin so.
    counted = Counted(world.series)
    at, limit = SMALL.until, world.limits[0]
    for user in ("s", "al"):
        assert counted.used(user, "memory", at - limit.days * DAY, at) > 1.2 * world.used(user, limit)
        assert user not in names
    assert len(names) > SMALL.users / 3


def test_a_launch_that_is_decided_wrongly_or_by_nobody_is_told() -> None:
    world = World(SMALL, MANY)
    over = next(person for person in world.people if person.over)
    under = next(person for person in world.people if not person.over)
    right = Round((0.1, 0.1), ("compute-quota-exceeded", ""), 0, 0, 0, 0)
    assert list(faults([over, under], world.limits, right)) == []
    assert len(list(faults([over, under], world.limits, right._replace(reasons=("", ""))))) == 1
    assert len(list(faults([over, under], world.limits, right._replace(reasons=("compute-quota-failed", ""))))) == 1
    assert len(list(faults([over, under], world.limits, right._replace(unanswered=1)))) == 1
