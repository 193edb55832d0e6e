"""What kopf tells is taken as it was when it was told."""

import asyncio
from types import SimpleNamespace
from typing import Any

import kopf

from hubquota.cluster.handlers import settings, sighted
from hubquota.cluster.observing import Sight

POD: Any = {"metadata": {"uid": "u1", "name": "jupyter-alice", "namespace": "hub"}}


async def test_a_pod_was_seen_when_it_was_told_and_not_when_the_hub_s_past_had_been_read() -> None:
    seen: list[Sight] = []
    clock = [100]
    hub: Any = SimpleNamespace(
        now=lambda: clock[0], started=asyncio.Event(), relisted=asyncio.Event(), see=lambda sights: seen.extend(sights)
    )
    telling = asyncio.ensure_future(sighted(hub, {"type": "DELETED", "object": POD}))
    await asyncio.sleep(0)
    assert not seen
    clock[0] = 107
    hub.started.set()
    await telling
    assert seen == [Sight(POD, 100, True)]
    assert not hub.relisted.is_set()


async def test_a_pod_that_is_listed_tells_that_there_was_a_gap() -> None:
    hub: Any = SimpleNamespace(now=lambda: 1, started=asyncio.Event(), relisted=asyncio.Event(), see=lambda _: None)
    hub.started.set()
    await sighted(hub, {"type": None, "object": POD})
    assert hub.relisted.is_set()


def test_of_what_is_watched_kopf_keeps_no_copy_to_compare_it_with() -> None:
    storage, body = settings(5).persistence.diffbase_storage, kopf.Body(POD)
    assert storage.build(body=body) == {}
    assert storage.fetch(body=body) is None
