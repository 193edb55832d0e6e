"""A way to ask the API server what it thinks of an object, without keeping it."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tests.testbed.control_plane import ControlPlane
from tests.testbed.rest import credentials

#: What the API server says of an object: an empty string where it takes it.
Judge = Callable[[dict[str, Any]], str]


@pytest.fixture(scope="session")
def judge(api: ControlPlane) -> Judge:
    """POST with dryRun=All and fieldValidation=Strict."""
    admin = credentials(api.kubeconfig)

    def ask(body: dict[str, Any]) -> str:
        plural = {"QuotaPolicy": "quotapolicies", "UserQuota": "userquotas"}[body["kind"]]
        path = f"/apis/hubquota.dev/v1alpha1/namespaces/default/{plural}?dryRun=All&fieldValidation=Strict"
        headers = {**admin.headers, "Content-Type": "application/json"}
        request = urllib.request.Request(admin.server + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30, context=admin.context):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                return str(json.loads(error.read())["message"])

    return ask
