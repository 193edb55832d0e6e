"""The node of all fake kubelets: it says that it is ready, so that a real cluster's controllers let its pods be.

Run it as ``python -m tests.testbed.fake_node KUBECONFIG``.
"""

import asyncio
import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx

from tests.testbed.control_plane import NODE
from tests.testbed.rest import APPLY, Json, Rest

#: As often as a kubelet renews its Lease; a node is given up after 40 s without.
_SECONDS: Final = 10
_TAINT: Final = {"key": "testbed.hubquota.dev/fake", "effect": "NoSchedule"}


async def keep_alive(kubeconfig: str) -> None:
    """Have the Node there and ready, and its Lease fresh; the API server may be away, and others may delete both."""
    async with Rest(Path(kubeconfig)) as rest:
        while True:
            with contextlib.suppress(httpx.HTTPError, json.JSONDecodeError):
                await _tell(rest, datetime.now(UTC))
            await asyncio.sleep(_SECONDS)


async def _tell(rest: Rest, now: datetime) -> None:
    node = f"/api/v1/nodes/{NODE}"
    await _apply(rest, node, "v1", "Node", {"spec": {"taints": [_TAINT]}})
    told = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": told}
    await rest.status(node, {"conditions": [ready]})
    lease = {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": f"{now:%Y-%m-%dT%H:%M:%S.%fZ}"}
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
    await _apply(rest, path, "coordination.k8s.io/v1", "Lease", {"spec": lease})


async def _apply(rest: Rest, path: str, version: str, kind: str, body: Json) -> None:
    """Server-side apply: test workers share the node."""
    whole = {"apiVersion": version, "kind": kind, "metadata": {"name": NODE}} | body
    query = "?fieldManager=hubquota-testbed&force=true"
    await rest.call("PATCH", path + query, whole, APPLY)


if __name__ == "__main__":
    asyncio.run(keep_alive(*sys.argv[1:]))
