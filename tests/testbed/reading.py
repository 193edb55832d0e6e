"""Objects read over one connection that is kept: what polls would otherwise start a kubectl each time."""

import time
import weakref
from pathlib import Path
from typing import Final

import httpx

from tests.testbed.rest import Json, credentials

_OURS: Final = "/apis/hubquota.dev/v1alpha1"
#: By the names that kubectl takes.
_KINDS: Final = {
    "uq": (_OURS, "userquotas"),
    "qp": (_OURS, "quotapolicies"),
    "pod": ("/api/v1", "pods"),
    "events": ("/api/v1", "events"),
    "lease": ("/apis/coordination.k8s.io/v1", "leases"),
}
#: So often is what the API server has no time for asked again.
_TRIES: Final = 10


class Reader:
    """One namespace's, with the credentials of a kubeconfig."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        known = credentials(kubeconfig)
        # A connection breaks when the API server is killed, which is noticed when it is used next.
        self._http = httpx.Client(base_url=known.server, headers=known.headers, verify=known.context, timeout=30)
        self._namespace = namespace
        weakref.finalize(self, self._http.close)  # a test that is over leaves no connection open

    def get(self, kind: str, name: str = "") -> Json:
        """An object, or the list of a kind; nothing: there is no such object. Raises httpx.HTTPError."""
        version, plural = _KINDS[kind]
        path = f"{version}/namespaces/{self._namespace}/{plural}{'/' if name else ''}{name}"
        answer = self._answer(path)
        for _ in range(_TRIES):  # while a CRD is taken up again it asks us to come back, as kubectl does
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            time.sleep(float(answer.headers.get("Retry-After", "1")))
            answer = self._answer(path)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        answer.raise_for_status()
        found: Json = answer.json()
        return found

    def _answer(self, path: str) -> httpx.Response:
        try:
            return self._http.get(path)
        except httpx.TransportError:
            return self._http.get(path)
