"""What calls over HTTP to others than the API server share: secrets from files, whom to trust, answers that end.

Credentials go to the address of the settings and nowhere else: no redirect is followed, no proxy and no ``.netrc`` of
the environment is used. ``fault``: what is raised, with the setting's name and what to write instead.
"""

import asyncio
import ssl
from collections.abc import Generator, Mapping
from pathlib import Path

import httpx


class BearerToken(httpx.Auth):
    """The token that a file holds at each call, for tokens change."""

    def __init__(self, setting: str, file: Path, scheme: str, fault: type[Exception]) -> None:
        self._setting, self._file, self._scheme, self._fault = setting, file, scheme, fault

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send it along."""
        request.headers["Authorization"] = f"{self._scheme} {self.secret()}"
        yield request

    def secret(self) -> str:
        """What must never be shown."""
        return secret(self._setting, self._file, self._fault)


def caller(auth: httpx.Auth, timeout: float, trust: ssl.SSLContext, accept: str) -> httpx.AsyncClient:
    """A client for one address. ``timeout`` in seconds, of each step of a call."""
    return httpx.AsyncClient(
        auth=auth,
        follow_redirects=False,
        trust_env=False,
        timeout=timeout,
        verify=trust,
        headers={"Accept": accept, "User-Agent": "hubquota"},
    )


def secret(setting: str, file: Path, fault: type[Exception]) -> str:
    """What a file holds. A token has to be ASCII, for it goes into a header."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise fault(f"{setting}: {file} cannot be read: {type(error).__name__}") from None
    if not text or not text.isprintable() or (setting.endswith("token_file") and not text.isascii()):
        raise fault(f"{setting}: {file} is empty or no single line: write the secret alone into it")
    return text


def trusted(setting: str, authorities: Path | None, fault: type[Exception]) -> ssl.SSLContext:
    """Those whose word is taken for who a server is. None: the usual authorities."""
    if authorities is None:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=str(authorities))
    except (OSError, ssl.SSLError) as error:
        raise fault(f"{setting}: {authorities} holds no certificate as PEM: {error}") from error


async def asked(
    http: httpx.AsyncClient, url: str, query: Mapping[str, str], seconds: float, most: int, too_much: Exception
) -> tuple[httpx.Response, bytes]:
    """One GET: the answer, and its body of at most ``most`` bytes, unpacked; all of it within ``seconds`` and one.

    Raises httpx.HTTPError, httpx.InvalidURL, TimeoutError, or ``too_much`` where there is more.
    """
    async with asyncio.timeout(seconds + 1), http.stream("GET", url, params=query) as answer:
        return answer, await _bounded(answer, most, too_much)


async def _bounded(answer: httpx.Response, most: int, too_much: Exception) -> bytes:
    parts, size = [], 0
    async for part in answer.aiter_bytes():
        size += len(part)
        if size > most:
            raise too_much
        parts.append(part)
    return b"".join(parts)
