"""The past of one hub, from the ledger into memory."""

from collections.abc import Iterable

from hubquota.domain.metering import Meter
from hubquota.ledger import Digest, Ledger, undigested


async def recalled(ledger: Ledger, hub: str, since: int, asked: int) -> Meter:
    """A meter with what the ledger has of the pods that held something after ``since``, as of ``asked``.

    Thousands of pods at a time: a large hub has a million. Raises SQLAlchemyError.
    """
    meter = Meter(await ledger.covered_since(hub, asked))
    meter.sealed_before = asked - 1
    kinds: dict[str, tuple[int, int]] = {}
    async for batch in ledger.digests(hub, since, asked):
        meter.load(_by_kind(batch, meter, kinds))
    async for pod in ledger.rest(hub, since, asked):
        meter.restore([pod])
    return meter


def _by_kind(
    batch: Iterable[Digest], meter: Meter, kinds: dict[str, tuple[int, int]]
) -> Iterable[tuple[str | None, int, int, tuple[int, int]]]:
    for user, start, end, digest in batch:
        kind = kinds.get(digest)
        if kind is None:
            kind = kinds[digest] = meter.kind(*undigested(digest))
        yield user, start, end, kind
