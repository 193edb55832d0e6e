"""A hub is asked again and again, ever more rarely while it is away; what a hook tells meanwhile is not overwritten."""

import logging
from pathlib import Path

import pytest

from hubquota.cluster.api import OURS, Api
from hubquota.cluster.members import Members, read
from hubquota.cluster.roll import Roll
from hubquota.cluster.scheduling import Key, Scheduler
from hubquota.cluster.writing import Writer
from hubquota.metrics import Metrics
from hubquota.settings import Settings
from tests.cluster import conftest as of_operators
from tests.jupyterhub.fake_hub import FakeHub, saying

server = of_operators.server
NOON = 1_772_366_400_000_000


class Over(Exception):
    """Enough was seen."""


async def pauses(settings: Settings, *answers: tuple[FakeHub, int | None]) -> list[float]:
    """How long is waited after each of these answers (a status, None: its users)."""
    waited: list[float] = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == len(answers):
            raise Over
        answer(len(waited))

    def answer(number: int) -> None:
        hub, status = answers[number]
        hub.answer = None if status is None else saying(status)

    async def write(_: Key) -> None:
        raise AssertionError("nothing is to be written")

    metrics = Metrics().of("hub")
    writer = Writer(None, "hub", metrics)  # type: ignore[arg-type]
    roll = Roll("hub", Members(10), writer, Scheduler(write), frozenset, lambda: NOON, metrics, pause)
    answer(0)
    with pytest.raises(Over):
        await roll.follow(settings)
    return waited


async def test_a_hub_that_is_away_is_asked_ever_more_rarely_and_each_reason_is_told_once(
    fake: FakeHub, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    away, refused, there = (fake, 503), (fake, 403), (fake, None)
    waited = await pauses(settings, there, *[away] * 8, refused, there, away)
    assert waited == [300, 5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 5]
    told = [record.getMessage() for record in caplog.records if record.name == "hubquota.cluster.roll"]
    assert [line.partition(": ")[2] or line for line in told] == [
        "the hub answers with 503: see its log, and whether hub_api_url ends in /hub/api",
        "the hub does not let us in (status 403): look at hub_api_token_file, and give its service a role with the "
        "scopes list:users and read:users:groups",
        "hub=hub its users are listed again",
        "the hub answers with 503: see its log, and whether hub_api_url ends in /hub/api",
    ]


async def test_a_token_that_is_not_there_yet_is_waited_for(fake: FakeHub, settings: Settings, tmp_path: Path) -> None:
    without = settings.model_copy(update={"hub_api_token_file": str(tmp_path / "later")})
    assert await pauses(without, (fake, None), (fake, None)) == [5, 10]


@pytest.mark.cluster
async def test_what_a_hook_tells_meanwhile_is_not_overwritten(server: Api, namespace: str) -> None:
    path = f"{OURS}/namespaces/{namespace}/userquotas"
    body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "metadata": {"name": "alice"}}
    seen = read(await server.create(path, body | {"spec": {"user": "alice", "groups": ["a"]}}))
    writer = Writer(server, namespace, Metrics().of("hub"))
    await server.patch(f"{path}/alice", {"spec": {"groups": ["b"]}})
    assert not await writer.groups(seen, ["c"], NOON)
    again = read(await server.get(f"{path}/alice"))
    assert again.groups == {"b"}
    assert await writer.groups(again, ["c"], NOON)
    told = (await server.get(f"{path}/alice"))["spec"]
    assert told == {"user": "alice", "groups": ["c"], "groupsObservedAt": "2026-03-01T12:00:00Z"}
    await server.delete(f"{path}/alice", {"uid": seen.uid})
    assert not await writer.groups(again, ["d"], NOON)
