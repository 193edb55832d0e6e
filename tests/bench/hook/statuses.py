"""The API server as it is beside a hub whose operator has told where everybody stands."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hubquota.cluster import hub, policies
from hubquota.domain.policy import Policy
from hubquota.domain.tally import Summary
from hubquota.resources.names import user_quota_name
from hubquota.resources.status import user_status
from tests.bench.history import Member
from tests.bench.hook.limits import Limit
from tests.bench.hook.world import World
from tests.bench.policies import engine
from tests.testbed.control_plane import ControlPlane
from tests.testbed.manifests import give_rights
from tests.testbed.rest import MERGE, Json, Rest

_MICROS: Final = 1_000_000
_API: Final = "hubquota.dev/v1alpha1"
#: Calls under way at a time.
_AT_ONCE: Final = 16


async def fill(api: ControlPlane, namespace: str, world: World, limits: Sequence[Limit]) -> None:
    """A namespace with policies, the heartbeat, and a UserQuota for every user."""
    path = f"/apis/{_API}/namespaces/{namespace}"
    slots = asyncio.Semaphore(_AT_ONCE)
    async with Rest(api.kubeconfig) as rest:
        held = [await _policy(rest, path, limit, world) for limit in limits]
        await _heartbeat(rest, namespace)

        async def one(member: Member) -> None:
            async with slots:
                await _user_quota(rest, path, member, world, held)

        async with asyncio.TaskGroup() as group:
            for member in world.members:
                group.create_task(one(member))


def hub_kubeconfig(api: ControlPlane, namespace: str) -> Path:
    """A kubeconfig of the hub's service account, with what the manifests allow it and nothing more."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "hub", "namespace": namespace}}
    done = api.kubectl("apply", "-f", "-", stdin=json.dumps(account))
    if done.returncode:
        raise RuntimeError(done.stderr)
    give_rights(api, namespace)
    return api.kubeconfig_for(namespace, "hub")


async def _policy(rest: Rest, path: str, limit: Limit, world: World) -> Policy:
    made = limit.ours()
    spec = {name: value for name, value in made.items() if name != "name"}
    body = {"apiVersion": _API, "kind": "QuotaPolicy", "metadata": {"name": limit.name}, "spec": spec}
    stored = policies.read(await rest.call("POST", f"{path}/quotapolicies", body))
    count = len(world.members)
    facts = policies.Facts(Summary(users=count, deciding=count), heaviest=_heaviest(world))
    told = policies.status(stored, stored.policy, facts, world.hub.until * _MICROS)
    await rest.call("PATCH", f"{path}/quotapolicies/{limit.name}/status", {"status": told}, MERGE)
    return engine(made)


def _heaviest(world: World) -> tuple[tuple[str, int], ...]:
    """As many as the operator names; the amounts are not read by hooks."""
    return tuple((person.launch.user, person.samples) for person in world.people[-5:])


async def _heartbeat(rest: Rest, namespace: str) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": "bench", "leaseDurationSeconds": 10, "renewTime": now}
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "hubquota-heartbeat"}}
    await rest.call("POST", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", body | {"spec": spec})


async def _user_quota(rest: Rest, path: str, member: Member, world: World, held: Sequence[Policy]) -> None:
    groups, now = world.groups(member), world.hub.until
    observed = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    spec = {"user": member.name, "groups": list(groups), "groupsObservedAt": observed}
    name = user_quota_name(member.name)
    body = {"apiVersion": _API, "kind": "UserQuota", "metadata": {"name": name}, "spec": spec}
    made = await rest.call("POST", f"{path}/userquotas", body)
    told = _status(world, held, member.name, frozenset(groups), made["metadata"]["generation"])
    await rest.call("PATCH", f"{path}/userquotas/{name}/status", {"status": told}, MERGE)


def _status(world: World, held: Sequence[Policy], user: str, groups: frozenset[str], generation: int) -> Json:
    standing = world.meter.standing(held, user, groups, world.hub.until * _MICROS)
    running: list[dict[str, Any]] = [hub._running(pod) for pod in world.meter.running(user)]
    return user_status(standing, running, generation)
