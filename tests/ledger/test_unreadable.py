"""A row that no pod can be made of is set aside, and all others are read and written as if it were not there."""

from typing import Any

import pytest
from sqlalchemy import Update, select, text, update

from hubquota.cluster.past import recalled
from hubquota.domain.history import HowEnded, PodEnd
from hubquota.ledger import Ledger
from hubquota.ledger.tables import pods, segments
from tests.ledger.pods import pod

END = PodEnd(900, HowEnded.CONTAINERS)
BROKEN: dict[str, Update] = {
    "an end before the start": update(pods).values(finished=10),
    "an end learnt nobody knows how": update(pods).values(how_ended=None),
    "a negative request": update(segments).values(request=-1),
    "seen first after it was seen last": update(pods).values(first_seen=9000),
    "a name of 256 characters": update(pods).values(user="x" * 256),
}


async def write(ledger: Ledger, *statements: Any) -> None:  # noqa: ANN401 - whatever can be executed
    async def work(connection: Any) -> None:  # noqa: ANN401 - as ``writing`` takes it
        for statement in statements:
            await connection.execute(statement)

    await ledger.writing(work)


@pytest.fixture
async def broken(ledger: Ledger, request: pytest.FixtureRequest) -> Ledger:
    """Three pods that ended, the middle one's row broken."""
    await ledger.record([pod(uid, end=END, at=950) for uid in ("u1", "u2", "u3")])
    statement = BROKEN[request.param]
    table: Any = statement.table
    await write(ledger, statement.where(table.c.uid == "u2"), update(pods).values(digest=None))
    return ledger


each = pytest.mark.parametrize("broken", BROKEN, indirect=True)


@each
async def test_its_neighbours_are_read(broken: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert [p.uid async for p in broken.pods_since("hub", 0)] == ["u1", "u3"]
        assert [p.uid async for p in broken.rest("hub", 0, 9999)] == ["u1", "u3"]
    assert broken.unreadable("hub") == 1
    assert broken.unreadable("other") == 0
    assert caplog.text.count("hub=hub pod=u2 its row in the ledger cannot be read") == 1


@each
async def test_its_neighbours_are_written_and_it_is_left_as_it_is(broken: Ledger) -> None:
    async with broken.reading() as connection:
        [before] = await connection.execute(select(pods).where(pods.c.uid == "u2"))
    seen = [pod(uid, at=1000, end=END) for uid in ("u1", "u2", "u3", "u4")]
    assert [p.uid for p in await broken.record(seen)] == ["u1", "u2", "u3", "u4"]  # and all are metered
    assert [p.last_seen async for p in broken.pods_since("hub", 0)] == [1000] * 3
    async with broken.reading() as connection:
        assert [before] == list(await connection.execute(select(pods).where(pods.c.uid == "u2")))


async def test_a_word_of_a_newer_version_spoils_no_other_row(ledger: Ledger) -> None:
    await ledger.record([pod("u1", end=END, at=950), pod("u2", end=END, at=950)])
    await write(ledger, text("UPDATE pods SET how_ended = 'Foretold', digest = NULL WHERE uid = 'u2'"))
    assert [p.uid async for p in ledger.pods_since("hub", 0)] == ["u1"]
    assert ledger.unreadable("hub") == 1
    with pytest.raises(Exception, match="is not a valid HowEnded"):
        await write(ledger, update(pods).values(how_ended="Foretold"))


@pytest.mark.parametrize("digest", ["?", "3", "[3,[]]", '[{"memory":"much"},[]]'])
async def test_a_start_goes_on_without_a_digest_that_cannot_be_read(
    ledger: Ledger, digest: str, caplog: pytest.LogCaptureFixture
) -> None:
    await ledger.record([pod(uid, user=uid, end=END, at=950) for uid in ("u1", "u2", "u3")])
    await write(ledger, update(pods).where(pods.c.uid == "u2").values(digest=digest))
    meter = await recalled(ledger, "hub", 0, 5000)
    assert meter.users() == {"u1", "u3"}
    assert "are not counted, it cannot be read" in caplog.text
