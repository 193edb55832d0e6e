"""The hook in this process, asking a real API server with the hub's own rights, without a hub around it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes_asyncio import config
from tornado.web import HTTPError

import hubquota_hook as hook
from tests.hub.api_server import spawner
from tests.testbed.control_plane import ControlPlane


def account_of_hub(api: ControlPlane, namespace: str) -> Path:
    """A kubeconfig of the service account that z2jh makes; its Roles are those of the manifests."""
    api.objects(namespace).create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "hub"}})
    return api.kubeconfig_for(namespace, "hub")


@asynccontextmanager
async def asking(account: Path) -> AsyncIterator[None]:
    """The hook asks the API server of this kubeconfig for as long as this lasts."""
    client = await config.new_client_from_config(str(account))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(hook, "shared_client", lambda _: SimpleNamespace(api_client=client))
        try:
            yield
        finally:
            await client.close()


async def launched(namespace: str, user: str, server: str = "", **traits: Any) -> str:  # noqa: ANN401
    """Launch a server of 1 GiB by a hook that is set up so. Returns what its user reads where it is refused."""
    gate = hook.Gate(hook.HubQuota(**{"timeout": 20.0} | traits), None)
    try:
        await gate.pre_spawn(spawner(user, namespace=namespace, name=server))
    except HTTPError as refusal:
        return str(vars(refusal)["jupyterhub_message"])
    else:
        return ""
    finally:
        if gate._teller is not None and gate._teller._task is not None:
            await asyncio.wait_for(gate._teller._task, 20)
