"""The API server over one connection that is kept: what would otherwise start a kubectl for each call."""

import json
import time
import weakref
from pathlib import Path
from typing import Final

import httpx

from tests.testbed.patience import PATIENCE
from tests.testbed.rest import APPLY, MERGE, STRATEGIC_MERGE, Json, credentials

_OURS: Final = "/apis/hubquota.dev/v1alpha1"
#: By the names that kubectl takes.
_KINDS: Final = {
    "uq": (_OURS, "userquotas"),
    "qp": (_OURS, "quotapolicies"),
    "pod": ("/api/v1", "pods"),
    "sa": ("/api/v1", "serviceaccounts"),
    "events": ("/api/v1", "events"),
    "lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "rolebinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
}
#: The same by the names that objects give of their kinds.
_NAMES: Final = {
    "UserQuota": "uq",
    "QuotaPolicy": "qp",
    "Pod": "pod",
    "ServiceAccount": "sa",
    "Event": "events",
    "Lease": "lease",
    "Role": "role",
    "RoleBinding": "rolebinding",
}
_JSON: Final = "application/json"
#: So often is what the API server has no time for asked again.
_TRIES: Final = 10


class Calls:
    """With the credentials of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        known = credentials(kubeconfig)
        # A connection breaks when the API server is killed, which is noticed when it is used next.
        self._http = httpx.Client(base_url=known.server, headers=known.headers, verify=known.context, timeout=PATIENCE)
        weakref.finalize(self, self._http.close)  # a test that is over leaves no connection open

    def call(self, method: str, path: str, body: Json | None = None, kind: str = _JSON) -> Json:
        """What it answers. Raises httpx.HTTPStatusError with the server's words, httpx.TransportError."""
        answer = self.answer(method, path, body, kind)
        if answer.is_error:
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        told: Json = answer.json()
        return told

    def answer(self, method: str, path: str, body: Json | None = None, kind: str = _JSON) -> httpx.Response:
        """Whatever it answers. Raises httpx.TransportError."""
        answer = self._once(method, path, body, kind)
        for _ in range(_TRIES):  # while a CRD is taken up again it asks us to come back, as kubectl does
            if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
                break
            time.sleep(float(answer.headers.get("Retry-After", "1")))
            answer = self._once(method, path, body, kind)
        return answer

    def _once(self, method: str, path: str, body: Json | None, kind: str) -> httpx.Response:
        content = None if body is None else json.dumps(body)
        try:
            return self._http.request(method, path, content=content, headers={"Content-Type": kind})
        except httpx.TransportError:
            return self._http.request(method, path, content=content, headers={"Content-Type": kind})


class Objects:
    """Those of one namespace, with the credentials of a kubeconfig. All raise httpx.HTTPError."""

    def __init__(self, calls: Calls, namespace: str) -> None:
        self._calls, self._namespace = calls, namespace

    def get(self, kind: str, name: str = "") -> Json:
        """An object, or the list of a kind, by the names that kubectl takes; nothing: there is no such object."""
        answer = self._calls.answer("GET", self._path(kind, name))
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        answer.raise_for_status()
        found: Json = answer.json()
        return found

    def create(self, body: Json) -> Json:
        """A new object, as it is kept."""
        return self._calls.call("POST", self._path(_NAMES[body["kind"]]), body)

    def apply(self, body: Json) -> Json:
        """An object as it is written here, whatever was there."""
        path = self._path(_NAMES[body["kind"]], body["metadata"]["name"])
        return self._calls.call("PATCH", f"{path}?fieldManager=testbed&force=true", body, APPLY)

    def token(self, service_account: str, seconds: int) -> str:
        """One of a service account, good for so long."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        made = self._calls.call("POST", self._path("sa", service_account) + "/token", body)
        return str(made["status"]["token"])

    def allows(self, user: str, rule: Json) -> bool:
        """Whether a user may do the first thing that a rule of a Role allows, as the API server has it by now."""
        asked = {"namespace": self._namespace, "verb": rule["verbs"][0], "group": rule["apiGroups"][0]}
        asked |= {"resource": rule["resources"][0], "name": next(iter(rule.get("resourceNames", [])), "")}
        body: Json = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
        body |= {"spec": {"user": user, "resourceAttributes": asked}}
        told = self._calls.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
        return bool(told["status"]["allowed"])

    def cached(self, kind: str, name: str) -> Json:
        """An object as the API server's watch cache has it, which may be behind; nothing: it has none."""
        answer = self._calls.answer("GET", self._path(kind, name) + "?resourceVersion=0")
        found: Json = answer.json() if answer.is_success else {}
        return found

    def patch(self, kind: str, name: str, change: Json, part: str = "", how: str = MERGE) -> Json:
        """An object, or a ``part`` of it as ``status``, with what is changed in it."""
        path = self._path(kind, name)
        return self._calls.call("PATCH", f"{path}/{part}" if part else path, change, how)

    def report(self, pod: str, status: Json) -> None:
        """What a kubelet does: lists are merged by their keys."""
        self.patch("pod", pod, {"status": status}, "status", STRATEGIC_MERGE)

    def _path(self, kind: str, name: str = "") -> str:
        version, plural = _KINDS[kind]
        return f"{version}/namespaces/{self._namespace}/{plural}{'/' if name else ''}{name}"
