"""The API server as plain JSON: one call in, one dictionary out, with a timeout on each.

The `kubernetes` package brings credentials and transport; its models are passed over, for they cost most of a call's
time and know nothing of our resources.
"""

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import yaml
from kubernetes.aio import client, config

Json = dict[str, Any]

OURS: Final = "/apis/hubquota.dev/v1alpha1"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON: Final = "application/json"
#: Of objects that are large and of which the metadata is enough.
METADATA: Final = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
LIST_OF_METADATA: Final = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_OWN_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
#: What the package raises for a kubeconfig that is not there, is no YAML, or has something else instead of an entry.
_UNREADABLE: Final = (
    config.ConfigException,
    OSError,
    yaml.YAMLError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
_NO_ACCOUNT: Final = "this pod's service account cannot be used"
_NO_CLUSTER: Final = (
    "there is no cluster: name a kubeconfig in KUBECONFIG, or run in a pod with automountServiceAccountToken: true"
)
#: Objects in one page of a listing: few enough that a page never holds up the loop.
PAGE: Final = 500
#: A watch is given up after so many seconds without a line; bookmarks come about once a minute, but not of Events.
WATCHING: Final = aiohttp.ClientTimeout(sock_connect=10, sock_read=90)


class ApiError(Exception):
    """The API server refused, or could not be asked (``status`` 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotTheWriterError(ApiError):
    """Another operator may write by now, so nothing was written."""


class Api:
    """One connection pool to one API server. ``may_write``: asked before each call that changes something."""

    def __init__(
        self, transport: client.ApiClient, timeout: float, may_write: Callable[[], bool] = lambda: True
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._may_write = may_write

    def guarded(self, may_write: Callable[[], bool]) -> "Api":
        """The same server; what changes something raises NotTheWriterError where ``may_write`` says no."""
        return Api(self._transport, self._timeout, may_write)

    async def get(self, path: str, *, accept: str = JSON, **query: str) -> Json:
        """Read one object or listing, in the form ``accept``. Raises ApiError."""
        return await self._call("GET", path, query, accept=accept)

    async def create(self, path: str, body: Json) -> Json:
        """Create an object. Raises ApiError; 409 where it is there."""
        return await self._call("POST", path, {}, body)

    async def replace(self, path: str, body: Json) -> Json:
        """Replace an object as it was read. Raises ApiError; 409 where somebody else wrote since."""
        return await self._call("PUT", path, {}, body)

    async def patch(self, path: str, body: Json) -> Json:
        """Merge a change into an object. Raises ApiError; 404 where it is gone."""
        return await self._call("PATCH", path, {}, body, MERGE_PATCH)

    async def delete(self, path: str, preconditions: Json) -> None:
        """Delete an object if it still is as ``preconditions`` say. Raises ApiError; 409 where it is not, 404 gone."""
        await self._call(
            "DELETE", path, {}, {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
        )

    async def listing(self, path: str, **query: str) -> AsyncIterator[Json]:
        """All objects of a kind. Raises ApiError."""
        async for page in self.pages(path, **query):
            for item in page:
                yield item

    async def pages(self, path: str, *, accept: str = JSON, **query: str) -> AsyncIterator[list[Json]]:
        """All objects of a kind, so many at a time that a page never holds up the loop. Raises ApiError."""
        token = ""
        while True:
            more = {"continue": token} if token else {}
            page = await self.get(path, accept=accept, limit=str(PAGE), **query, **more)
            yield page["items"]
            token = (page.get("metadata") or {}).get("continue", "")
            if not token:
                return

    async def watch(
        self, path: str, version: str, *, accept: str = JSON, **more: str
    ) -> AsyncIterator[tuple[str, Json]]:
        """Changes of a kind since a listing's version: ADDED, MODIFIED or DELETED, and the object.

        Ends when the server ends it, after some minutes. Raises ApiError; 410 where the version is too old: list again.
        """
        query = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true", "timeoutSeconds": "300"}
        answer = await self._send("GET", path, query | more, None, JSON, accept, WATCHING)
        if answer.status >= 400:
            _judged(answer.status, await answer.read(), f"watch {path}")
        try:
            async for line in answer.response.content:
                change = json.loads(line)
                if change["type"] == "ERROR":
                    raise ApiError(change["object"].get("code", 0), change["object"].get("message", ""))
                if change["type"] != "BOOKMARK":
                    yield change["type"], change["object"]
        except (aiohttp.ClientError, TimeoutError, ValueError) as fault:
            raise ApiError(0, f"watch {path}: {str(fault) or type(fault).__name__}") from fault
        finally:
            answer.response.close()

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None = None,
        kind: str = JSON,
        accept: str = JSON,
    ) -> Json:
        if method != "GET" and not self._may_write():
            raise NotTheWriterError(0, f"{method} {path}: the writer's Lease was not renewed in time")
        answer = await self._send(method, path, query, body, kind, accept, self._timeout)
        try:
            text = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as fault:
            raise ApiError(0, f"{method} {path}: {str(fault) or type(fault).__name__}") from fault
        return _judged(answer.status, text, f"{method} {path}")

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], body: Json | None, kind: str, accept: str, limit: object
    ) -> Any:  # noqa: ANN401 - the package's answers have no types
        url = f"{self._transport.configuration.host}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "Content-Type": kind, "User-Agent": "hubquota-operator"}
        try:
            await self._transport.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            return await self._transport.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=limit
            )
        except (aiohttp.ClientError, TimeoutError, OSError, client.ApiException) as fault:
            raise ApiError(0, f"{method} {path}: {str(fault) or type(fault).__name__}") from fault


@asynccontextmanager
async def connected(seconds: float) -> AsyncIterator[Api]:
    """The API server of the kubeconfig (KUBECONFIG or ~/.kube/config), or the one that this pod runs on.

    ``seconds``: how long a call may take. Raises ApiError where there is neither.
    """
    try:
        settings = of_the_pod() if in_cluster() else await _of_the_kubeconfig()
        # Each hub's watch keeps a connection; aiohttp's own limit of 100 would let everything else wait for ever.
        settings.connection_pool_maxsize = 0
        transport = client.ApiClient(settings)  # reads the certificates
    except _UNREADABLE as fault:
        what = _NO_ACCOUNT if in_cluster() else f"{_NO_CLUSTER}: {kubeconfig() or '~/.kube/config'} cannot be used"
        # The parser of YAML tells its faults in several lines.
        raise ApiError(0, " ".join(f"{what}: {fault}".split())) from fault
    async with transport:
        yield Api(transport, seconds)


def of_the_pod() -> client.Configuration:
    """Address and credentials that the cluster gives a pod with a service account. Raises ApiError."""
    settings = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=settings)
    except config.ConfigException as fault:
        raise ApiError(0, f"{_NO_ACCOUNT}: {fault}") from fault
    return settings


async def _of_the_kubeconfig() -> client.Configuration:
    settings = client.Configuration()
    await config.load_kube_config(config_file=kubeconfig(), client_configuration=settings)
    return settings


def kubeconfig() -> str | None:
    """The kubeconfig that was named; None: the usual place. Read late: the package reads KUBECONFIG when imported."""
    return os.environ.get("KUBECONFIG")


def in_cluster() -> bool:
    """Whether this process runs in a pod with a service account, and was not told of another cluster."""
    return _OWN_NAMESPACE.exists() and kubeconfig() is None


def own_namespace() -> str:
    """The namespace of this pod, or of the kubeconfig's context. To be asked when ``connected``."""
    if in_cluster():
        return _OWN_NAMESPACE.read_text().strip()
    _, active = config.list_kube_config_contexts(config_file=kubeconfig())
    return str(active["context"].get("namespace", "default"))


def _judged(status: int, text: bytes, what: str) -> Json:
    try:
        told: Json = json.loads(text or b"{}")
    except ValueError:
        told = {"message": text[:200].decode(errors="replace")}
    if status >= 400:
        raise ApiError(status, f"{what}: {status} {told.get('message', '')}")
    return told
