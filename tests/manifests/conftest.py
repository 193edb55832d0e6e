"""Namespaces as an admin has them when the manifests are applied."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.testbed.control_plane import ControlPlane
from tests.testbed.manifests import give_rights
from tests.testbed.patience import until
from tests.testbed.rest import Json, Rest

#: A call as an account of the namespace: method, path, body; returns the HTTP status and the API server's answer.
Ask = Callable[..., Awaitable[tuple[int, Json]]]


@pytest.fixture
def granted(api: ControlPlane, namespace: str) -> str:
    """A namespace with our Roles in it, and the service account that z2jh makes."""
    give_rights(api, namespace)
    api.objects(namespace).create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "hub"}})
    return namespace


def allow(api: ControlPlane, namespace: str, name: str, rule: Json, account: str) -> None:
    """Give a service account of the namespace a Role of one rule, and wait until it holds."""
    meta, rbac = {"name": name}, "rbac.authorization.k8s.io"
    objects = api.objects(namespace)
    objects.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": [rule]})
    binding: Json = {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": meta}
    binding |= {"subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]}
    objects.apply(binding | {"roleRef": {"apiGroup": rbac, "kind": "Role", "name": name}})
    until(lambda: objects.allows(f"system:serviceaccount:{namespace}:{account}", rule))


@pytest.fixture
async def ask_as(api: ControlPlane, granted: str) -> AsyncIterator[Ask]:
    """Calls with a real token of a service account of the namespace; ``admin`` is the cluster's."""
    clients: dict[str, Rest] = {}
    async with AsyncExitStack() as open_clients:

        async def ask(account: str, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
            if account not in clients:
                config = api.kubeconfig if account == "admin" else api.kubeconfig_for(granted, account)
                clients[account] = await open_clients.enter_async_context(Rest(config))
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
            try:
                return 200, await clients[account].call(method, path, body, kind)
            except httpx.HTTPStatusError as error:
                told: Json = error.response.json()
                return error.response.status_code, told

        yield ask
