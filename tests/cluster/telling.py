"""Events as a hook writes them, with the rights of the hub's service account."""

import json
import time
import uuid
from typing import Any

from hubquota.resources.decision import ANNOTATION
from hubquota.resources.names import user_quota_name


def told(user: str = "alice", kind: str = "refused", *quotas: dict[str, Any], **more: object) -> dict[str, Any]:
    """What a hook says of a launch a moment ago."""
    at = time.time()
    instant = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at * 1e6) % 1_000_000:06d}Z"
    about = {"id": str(uuid.uuid4()), "at": instant, "kind": kind, "user": user, "request": {"memory": 1 << 30}}
    return about | {"quotas": list(quotas), "reason": f"Spawn failed for {user}: used up"} | more


def quota(policy: str, uid: str) -> dict[str, Any]:
    """A policy that decided."""
    amounts = {"limit": "40", "used": "41.5", "unit": "GiB-hours", "exhaustedUntil": "2100-01-01T00:00:00Z"}
    return {"policy": policy, "uid": uid, "resource": "memory"} | amounts


def event(namespace: str, said: object, user: str = "alice", **more: object) -> dict[str, Any]:
    """The Event that says it; a text is taken for the annotation as it is."""
    text = said if isinstance(said, str) else json.dumps(said, separators=(",", ":"))
    name = f"{user_quota_name(user)}.{uuid.uuid4().hex[:12]}"
    about = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "name": user_quota_name(user)}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace, "annotations": {ANNOTATION: text}},
        "involvedObject": about | {"namespace": namespace},
        "reportingComponent": "hubquota-hook",
        "reportingInstance": "hub-0",
        "source": {"component": "hubquota-hook"},
        "reason": "LaunchRefused",
        "action": "Launch",
        "type": "Warning",
    } | more
