"""A line from a program to the API server that can be cut or stalled, while it goes on for everybody else."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from tests.testbed.control_plane import write_kubeconfig
from tests.testbed.rest import Json

T = TypeVar("T")


class Line:
    """Bytes go through both ways, until it is cut. Use it as a context manager; it lives on a thread of its own."""

    def __init__(self, url: str) -> None:
        target = urlsplit(url)
        self._host, self._port = target.hostname or "", target.port or 443
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._ends: set[asyncio.StreamWriter] = set()
        self._cut = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.port = 0

    def __enter__(self) -> "Line":
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._carry, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self) -> None:
        """End all connections, and let none come about until ``mend``."""
        self._cut = True
        self._do(self._drop())

    def stall(self) -> None:
        """Let connections come about and stay, and let nothing through until ``mend``."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def mend(self) -> None:
        """Let connections come about again, and through what waits."""
        self._cut = False
        self._loop.call_soon_threadsafe(self._flowing.set)

    def kubeconfig(self, direct: Path, through: Path) -> Path:
        """A kubeconfig like another one, but over this line."""
        config: Json = json.loads(direct.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.port}"
        return write_kubeconfig(through, config)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._cut:
                return
            far_reader, far_writer = await asyncio.open_connection(self._host, self._port)
            self._ends |= {writer, far_writer}
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        except OSError:
            pass  # the API server is away too
        finally:
            self._ends.discard(writer)
            writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while part := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(part)
                await writer.drain()
        writer.close()

    async def _drop(self) -> None:
        ends, self._ends = self._ends, set()
        for end in ends:
            end.transport.abort()

    async def _close(self) -> None:
        self._server.close()
        await self._drop()
        await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
