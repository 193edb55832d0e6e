"""The HTTP servers of pods that run nothing else, each on an address of its own."""

import asyncio
import contextlib
import hashlib
from typing import Final

from tests.testbed.rest import Json

_ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-JupyterHub-Version: 6.1.1\r\nConnection: close\r\n"
    b"Content-Length: 28\r\n\r\n<h1>Your server is here</h1>"
)
_PORT: Final = 8888


class Answers:
    """All servers of one kubelet, by uid. Linux has all of 127.0.0.0/8."""

    def __init__(self) -> None:
        self._servers: dict[str, asyncio.Server] = {}

    async def open(self, pod: Json) -> str:
        """Answer for a pod, where one of its containers has a port. Returns its address. Repeatable."""
        uid: str = pod["metadata"]["uid"]
        one, two, three = hashlib.sha256(uid.encode()).digest()[:3]
        address = f"127.{one % 250 + 2}.{two}.{three % 250 + 2}"
        asked = any(container.get("ports") for container in pod["spec"]["containers"])
        if asked and uid not in self._servers:
            self._servers[uid] = await asyncio.start_server(_answer, address, _PORT)
        return address

    async def close(self, uid: str) -> None:
        """Answer no more. Repeatable."""
        server = self._servers.pop(uid, None)
        if server is not None:
            server.close()
            await server.wait_closed()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await writer.drain()
    writer.close()
