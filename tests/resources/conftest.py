"""A way to ask the API server what it thinks of an object, without keeping it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.testbed.control_plane import ControlPlane

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
    there = api.objects("default").create(body | {"spec": {"user": "judged"}})

    def ask(status: dict[str, Any]) -> str:
        path = "/apis/hubquota.dev/v1alpha1/namespaces/default/userquotas/judged/status"
        return _asked(api, "PUT", path, there | {"status": status})

    yield ask
    api.kubectl("delete", "userquota", "judged")


def _asked(api: ControlPlane, method: str, path: str, body: dict[str, Any]) -> str:
    answer = api.calls.answer(method, f"{path}?dryRun=All&fieldValidation=Strict", body)
    return str(answer.json()["message"]) if answer.is_error else ""
