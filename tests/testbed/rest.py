"""The API server as a test sees it: plain JSON over httpx, with the credentials of a kubeconfig."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

Json = dict[str, Any]
_TIMEOUT: Final = httpx.Timeout(10, read=30)


class Rest:
    """A client; use it as an asynchronous context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        server = config["clusters"][0]["cluster"]["server"]
        headers = {"Authorization": f"Bearer {config['users'][0]['user']['token']}"}
        # The test bed's API server signs its own certificate, on the loopback interface.
        self._http = httpx.AsyncClient(base_url=server, headers=headers, verify=False, timeout=_TIMEOUT)

    async def __aenter__(self) -> "Rest":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def call(self, method: str, path: str, body: Json | None = None, kind: str = "application/json") -> Json:
        """One call. Raises httpx.HTTPStatusError with the server's words."""
        content = None if body is None else json.dumps(body)
        answer = await self._http.request(method, path, content=content, headers={"Content-Type": kind})
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        told: Json = answer.json()
        return told

    async def status(self, path: str, status: Json) -> Json:
        """Merge into an object's status, lists by their keys as the kubelet does."""
        kind = "application/strategic-merge-patch+json"
        return await self.call("PATCH", f"{path}/status", {"status": status}, kind)

    async def watch(self, path: str) -> AsyncIterator[Json]:
        """All objects as ADDED, then every change. Ends with the server's connection. Raises httpx.HTTPError."""
        async with self._http.stream("GET", f"{path}?watch=true", timeout=httpx.Timeout(10, read=None)) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                yield json.loads(line)
