"""The API server as a test sees it: plain JSON over httpx, with the credentials of a kubeconfig."""

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import yaml

Json = dict[str, Any]
#: Ways to change an object.
MERGE: Final = "application/merge-patch+json"
STRATEGIC_MERGE: Final = "application/strategic-merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
#: Seconds. A turn in the line is waited for however long it takes; a watch may be told nothing for as long.
_TIMEOUT: Final = httpx.Timeout(10, read=30, pool=None)
_WATCHING: Final = httpx.Timeout(10, read=None, pool=None)


@dataclass(frozen=True)
class Credentials:
    """Where an API server is, and how it knows us: by a header or by a client certificate in the context."""

    server: str
    headers: Mapping[str, str]
    context: ssl.SSLContext


class Rest:
    """A client; use it as an asynchronous context manager. ``at_once``: calls and watches; the others wait in line."""

    def __init__(self, kubeconfig: Path, at_once: int = 100) -> None:
        known = credentials(kubeconfig)
        self._http = httpx.AsyncClient(
            base_url=known.server,
            headers=known.headers,
            verify=known.context,
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=at_once),
        )

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

    async def find(self, path: str) -> Json | None:
        """An object; None: it is not there. Raises httpx.HTTPStatusError with the server's words."""
        try:
            return await self.call("GET", path)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
            return None

    async def ready(self) -> bool:
        """Whether the API server says that it is ready."""
        try:
            return (await self._http.get("/readyz", timeout=5)).is_success
        except httpx.HTTPError:
            return False

    async def status(self, path: str, status: Json, uid: str = "") -> Json:
        """Merge into an object's status, lists by their keys as the kubelet does.

        ``uid``: refused with 409 where another object has the name; empty: whichever has it.
        """
        whose = {"metadata": {"uid": uid}} if uid else {}
        return await self.call("PATCH", f"{path}/status", whose | {"status": status}, STRATEGIC_MERGE)

    async def watch(self, path: str, version: str = "") -> AsyncIterator[Json]:
        """All objects as ADDED, then every change; or the changes since a ``version``.

        Ends with the server's connection. Raises httpx.HTTPError.
        """
        query = f"watch=true&resourceVersion={version}" if version else "watch=true"
        async with self._http.stream("GET", f"{path}?{query}", timeout=_WATCHING) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                yield json.loads(line)


def credentials(kubeconfig: Path) -> Credentials:
    """What the current context of a kubeconfig says. Raises ValueError where it says it in a way not known here."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config, "context", config["current-context"])
    cluster, user = _named(config, "cluster", context["cluster"]), _named(config, "user", context["user"])
    token = user.get("token") or _text(user, "tokenFile", kubeconfig.parent)
    if not token and not {"client-certificate", "client-certificate-data"} & set(user):
        raise ValueError(
            f"the user {context['user']!r} of {kubeconfig} has neither a token nor a client certificate: "
            "write a kubeconfig with a token of `kubectl create token` into it"
        )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Credentials(cluster["server"], headers, _tls(cluster, user, kubeconfig.parent))


def _tls(cluster: Json, user: Json, folder: Path) -> ssl.SSLContext:
    trusted = _bytes(cluster, "certificate-authority", folder)
    if not trusted and "certificate-authority" in cluster:
        raise OSError(f"{cluster['certificate-authority']} is empty, it may be on its way")
    context = ssl.create_default_context(cadata=trusted.decode() if trusted else None)
    # Clusters' own authorities often lack what RFC 5280 asks of them; kubectl takes them too.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = (_bytes(user, f"client-{part}", folder) for part in ("certificate", "key"))
    if certificate and key:
        with _file(certificate) as certificate_file, _file(key) as key_file:
            context.load_cert_chain(certificate_file, key_file)
    return context


def _named(config: Json, kind: str, name: str) -> Json:
    found: Json = next(entry[kind] for entry in config[f"{kind}s"] if entry["name"] == name)
    return found


def _bytes(entry: Json, name: str, folder: Path) -> bytes:
    """A field of a kubeconfig, inline or in a file beside it; empty where it is not there."""
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"])
    return (folder / entry[name]).read_bytes() if name in entry else b""


def _text(entry: Json, name: str, folder: Path) -> str:
    return _bytes(entry, name, folder).decode().strip()


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A file for as long as OpenSSL reads it; only we may read it."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        yield file.name
