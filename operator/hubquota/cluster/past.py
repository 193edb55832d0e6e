"""The past of one hub, from the ledger into memory."""

import logging
from collections.abc import Iterable

from hubquota.domain.metering import Meter
from hubquota.ledger import Digest, Ledger, undigested

logger = logging.getLogger(__name__)


async def recalled(ledger: Ledger, hub: str, since: int, listed: int) -> Meter:
    """A meter with what the ledger has of the pods that held something after ``since``.

    What is older than that the meter does not know. Pods that ended, and were gone when all were ``listed``, are in the
    past; of the others more may be told. Thousands of pods at a time: a large hub has a million.
    Raises SQLAlchemyError.
    """
    meter = Meter(max(await ledger.covered_since(hub, listed), since))
    meter.sealed_before = listed - 1
    kinds: dict[str, tuple[int, int] | None] = {}
    async for batch in ledger.digests(hub, since, listed):
        meter.load(_by_kind(batch, meter, kinds))
    async for pod in ledger.rest(hub, since, listed):
        meter.restore([pod])
    return meter


def _by_kind(
    batch: Iterable[Digest], meter: Meter, kinds: dict[str, tuple[int, int] | None]
) -> Iterable[tuple[str | None, int, int, tuple[int, int]]]:
    for user, start, end, digest in batch:
        if digest not in kinds:
            kinds[digest] = _kind(digest, meter)
        kind = kinds[digest]
        if kind is not None:
            yield user, start, end, kind


def _kind(digest: str, meter: Meter) -> tuple[int, int] | None:
    """None: it cannot be read, and must not keep all others from being taken up."""
    try:
        return meter.kind(*undigested(digest))
    except (ValueError, TypeError, AttributeError) as fault:
        logger.error(
            "pods of digest %.100r are not counted, it cannot be read: %s: see hubquota ledger verify", digest, fault
        )
        return None
