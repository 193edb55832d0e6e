"""Calls to the API server that cost little: whoever measures shares the machine with what is measured."""

import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from tests.testbed.rest import STRATEGIC_MERGE, Json, credentials

_TIMEOUT = aiohttp.ClientTimeout(total=60)
#: A watch says nothing for as long as nothing happens.
_ENDLESS = aiohttp.ClientTimeout(total=None, sock_connect=10)
#: Bytes of one object at most, as a watch tells it in one line.
_LINE = 2**21


class Caller:
    """A client, a quarter as dear as ``Rest``; use it as an asynchronous context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        known = credentials(kubeconfig)
        self._server, self._headers = known.server, dict(known.headers)
        self._tls: ssl.SSLContext = known.context

    async def __aenter__(self) -> "Caller":
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        self._http = aiohttp.ClientSession(connector=connector, headers=self._headers, read_bufsize=_LINE)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def call(self, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> Json:
        """One call. Raises aiohttp.ClientError."""
        content, headers = None if body is None else json.dumps(body), {"Content-Type": kind}
        asked = self._http.request(method, self._server + path, data=content, headers=headers, timeout=_TIMEOUT)
        async with asked as answer:
            answer.raise_for_status()
            told: Json = json.loads(await answer.read())
            return told

    async def status(self, path: str, status: Json) -> None:
        """Merge into an object's status, lists by their keys as the kubelet does. Raises aiohttp.ClientError."""
        await self.call("PATCH", f"{path}/status", {"status": status}, STRATEGIC_MERGE)

    async def watch(self, path: str, version: str = "") -> AsyncIterator[Json]:
        """All objects as ADDED, then every change; or the changes since a ``version``. Raises aiohttp.ClientError."""
        query = f"watch=true&resourceVersion={version}" if version else "watch=true"
        async with self._http.get(f"{self._server}{path}?{query}", timeout=_ENDLESS) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                yield json.loads(line)
