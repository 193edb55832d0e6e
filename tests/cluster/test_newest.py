"""The watch and a listing tell of the same pods, and not always in order."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hubquota.cluster.observing import Sight
from tests.cluster.test_journal import NOW, Counting, World

Pod = Mapping[str, Any]


class Cluster:
    """An API server that lists these pods; ``meanwhile`` happens while the listing is on its way."""

    def __init__(self) -> None:
        self.pods: list[Pod] = []
        self.meanwhile: Callable[[], object] = lambda: None

    async def listing(self, _: str) -> AsyncIterator[Pod]:
        pods = list(self.pods)
        self.meanwhile()
        for one in pods:
            yield one


def pod(version: int, *, placed: bool = True, uid: str = "u1") -> Pod:
    """Alice's server, which is on its way until it is placed."""
    condition = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-05-01T00:00:00Z"}
    marks = {"hub.jupyter.org/username": "alice"}
    meta = {"uid": uid, "name": "jupyter-alice", "namespace": "hub", "resourceVersion": str(version)}
    status = {"phase": "Pending", "conditions": [condition] if placed else []}
    return {"metadata": meta | {"annotations": marks}, "spec": {"containers": []}, "status": status}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with await Counting.open(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        cluster = Cluster()
        world = World(ledger, SimpleNamespace(listing=cluster.listing, cluster=cluster))
        world.pods._counts_at_once = lambda _: True
        yield world


def see(world: World, told: Pod, *, gone: bool = False) -> set[str]:
    return world.pods.see([Sight(told, NOW, gone)])


def cluster_of(world: World) -> Cluster:
    found: Cluster = world.pods._api.cluster  # type: ignore[attr-defined]
    return found


async def test_a_listing_on_its_way_takes_back_nothing_that_was_told_meanwhile(world: World) -> None:
    see(world, pod(9, placed=False))
    cluster = cluster_of(world)
    cluster.pods, cluster.meanwhile = [pod(9, placed=False)], lambda: see(world, pod(10))
    await world.pods.resync()
    assert (world.pods.meter.pending("alice"), world.pods.meter.open_count) == ([], 1)


async def test_an_older_word_of_the_watch_takes_back_nothing_that_was_listed(world: World) -> None:
    cluster_of(world).pods = [pod(100)]
    await world.pods.resync()
    assert see(world, pod(99, placed=False)) == set()
    assert world.pods.meter.pending("alice") == []


async def test_one_that_was_made_while_a_listing_was_on_its_way_stays(world: World) -> None:
    cluster_of(world).meanwhile = lambda: see(world, pod(10, placed=False))
    await world.pods.resync()
    assert world.pods.meter.pending("alice") == [""]


async def test_one_on_its_way_whose_deletion_nobody_told_is_gone_with_the_next_listing(world: World) -> None:
    assert see(world, pod(9, placed=False)) == {"alice"}
    assert await world.pods.resync() == {"alice"}
    assert world.pods.meter.pending("alice") == []


async def test_what_is_listed_holds_though_its_version_is_smaller_for_etcd_may_have_been_restored(world: World) -> None:
    see(world, pod(1000, placed=False))
    cluster_of(world).pods = [pod(10)]
    assert await world.pods.resync() == {"alice"}
    assert (world.pods.meter.pending("alice"), world.pods.meter.open_count) == ([], 1)
    assert see(world, pod(11), gone=True) == {"alice"}
