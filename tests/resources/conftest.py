"""A way to ask the API server what it thinks of an object, without keeping it."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.testbed.control_plane import ControlPlane
from tests.testbed.rest import credentials

#: What the API server says of an object: an empty string where it takes it.
Judge = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="session")
def judge(api: ControlPlane) -> Judge:
    """POST with dryRun=All and fieldValidation=Strict."""

    def ask(body: dict[str, Any]) -> str:
        plural = {"QuotaPolicy": "quotapolicies", "UserQuota": "userquotas"}[body["kind"]]
        return _asked(api, "POST", f"/apis/hubquota.dev/v1alpha1/namespaces/default/{plural}", body)

    return ask


@pytest.fixture(scope="session")
def judge_status(api: ControlPlane) -> Iterator[Judge]:
    """PUT of a status onto a UserQuota that is there, with dryRun=All and fieldValidation=Strict."""
    body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "metadata": {"name": "judged"}}
    made = api.kubectl("create", "-o", "json", "-f", "-", stdin=json.dumps(body | {"spec": {"user": "judged"}}))
    there = json.loads(made.stdout)

    def ask(status: dict[str, Any]) -> str:
        path = "/apis/hubquota.dev/v1alpha1/namespaces/default/userquotas/judged/status"
        return _asked(api, "PUT", path, there | {"status": status})

    yield ask
    api.kubectl("delete", "userquota", "judged")


def _asked(api: ControlPlane, method: str, path: str, body: dict[str, Any]) -> str:
    admin = credentials(api.kubeconfig)
    headers = {**admin.headers, "Content-Type": "application/json"}
    url = f"{admin.server}{path}?dryRun=All&fieldValidation=Strict"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30, context=admin.context):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return str(json.loads(error.read())["message"])
