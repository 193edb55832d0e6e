"""What the operator says of itself while it runs: which listings it has made and written."""

import asyncio
import re
import time
from typing import Final

import httpx

from tests.storm.comparing import Listing

_EVERY: Final = 0.2
_SERIES: Final = re.compile(r'^hubquota_(\w+)\{hub="[^"]*"\} (\S+)$', re.MULTILINE)


class Listings:
    """All listings of an operator whose metrics are on a port of this machine."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"
        self.seen: list[Listing] = []

    async def run(self) -> None:
        """Look until cancelled. A listing counts when all that it showed is written."""
        async with httpx.AsyncClient(timeout=5) as http:
            while True:
                await self._look(http)
                await asyncio.sleep(_EVERY)

    async def _look(self, http: httpx.AsyncClient) -> None:
        try:
            told = (await http.get(self._url)).text
        except httpx.HTTPError:
            return  # it is down
        series = dict(_SERIES.findall(told))
        asked = int(float(series.get("resync_timestamp_seconds", 0)) * 1_000_000)
        waiting = float(series.get("ledger_waiting_pods", 0))
        if asked and not waiting and (not self.seen or self.seen[-1].asked != asked):
            self.seen.append(Listing(asked, int(time.time() * 1_000_000)))

    def since(self, at: float) -> bool:
        """Whether one was asked for after an instant, in seconds since 1970."""
        return any(listing.asked > at * 1_000_000 for listing in self.seen)
