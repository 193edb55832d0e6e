"""The ledger's rows of pods, as a test asks for them while an operator writes."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from hubquota.domain.history import HowEnded, PodEnd, PodRecord, PolicyRevision
from hubquota.ledger import Ledger
from tests.testbed.patience import PATIENCE
from tests.testbed.processes import Program

#: How an end was learnt, its instant, and the bound where it is estimated; microseconds since 1970.
End = tuple[HowEnded, int, int | None]


class Rows:
    """The rows of one hub. ``url``: an SQLAlchemy URL."""

    def __init__(self, url: str, hub: str, writer: Program) -> None:
        self._url, self._hub, self._writer = url, hub, writer

    def of(self, pod: str) -> list[PodRecord]:
        """All of a name, in the order of their placement."""
        return sorted((r for r in asyncio.run(self._all()) if r.name == pod), key=lambda r: r.scheduled)

    def open(self, pod: str) -> PodRecord:
        """The only row of a name, once it is there and goes on."""
        return self._when(pod, lambda record: record.end is None)

    def ended(self, pod: str) -> PodRecord:
        """The only row of a name, once it has an end."""
        return self._when(pod, lambda record: record.end is not None)

    def end(self, pod: str) -> PodEnd:
        """The end of the only row of a name, once it has one."""
        found = self.ended(pod).end
        assert found is not None
        return found

    def certain_end(self, pod: str) -> PodEnd:
        """The end of the only row of a name, once it is known: a listing may have missed it and estimated it before."""
        found = self._when(pod, lambda record: record.end is not None and record.end.bound is None).end
        assert found is not None
        return found

    def revisions(self) -> list[PolicyRevision]:
        """What the ledger has of the hub's policies."""
        return asyncio.run(self._revisions())

    def policies_held(self) -> set[str]:
        """The names of the policies that hold, by the ledger."""
        return {revision.name for revision in self.revisions() if revision.end is None}

    def when(self, check: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until something holds, as long as the operator runs."""
        deadline = time.monotonic() + seconds
        while not check():
            assert self._writer.running, self._writer.last_words()
            assert time.monotonic() < deadline, self._writer.last_words()
            time.sleep(0.1)

    def _when(self, pod: str, check: Callable[[PodRecord], bool]) -> PodRecord:
        found: list[PodRecord] = []

        def there() -> bool:
            found[:] = self.of(pod)
            return len(found) == 1 and check(found[0])

        self.when(there)
        return found[0]

    async def _revisions(self) -> list[PolicyRevision]:
        async with await Ledger.open(self._url) as ledger:
            return await ledger.policy_revisions(self._hub)

    async def _all(self) -> list[PodRecord]:
        async with await Ledger.open(self._url) as ledger:
            return [record async for record in ledger.pods_since(self._hub, -1)]


def lasting(record: PodRecord) -> PodRecord:
    """Without when it was last seen, which goes on as long as its object is there."""
    return replace(record, last_seen=record.first_seen)
