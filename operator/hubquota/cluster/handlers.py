"""What kopf calls: pods and policies, as they happen. Each handler only calls down.

Only ``on.event``: the higher handlers write annotations and finalizers onto what they watch, and a user's pod must
never wait for us.
"""

from collections.abc import Mapping
from typing import Final

import kopf

from hubquota.cluster.api import in_cluster, of_the_pod
from hubquota.cluster.hub import Hub
from hubquota.cluster.observing import Sight

_GROUP: Final = "hubquota.dev"
_VERSION: Final = "v1alpha1"


def registry(hubs: Mapping[str, Hub]) -> kopf.OperatorRegistry:
    """Handlers for the hubs, by namespace."""
    made = kopf.OperatorRegistry()

    # As our own client finds its way: a kubeconfig that was named, else the pod's service account.
    login = _login_of_the_pod if in_cluster() else kopf.login_with_kubeconfig
    kopf.on.login(registry=made)(login)

    @kopf.on.event("v1", "pods", registry=made)
    async def pod_seen(event: kopf.RawEvent, namespace: str | None, **_: object) -> None:
        await sighted(hubs[namespace or ""], event)

    @kopf.on.event(_GROUP, _VERSION, "quotapolicies", registry=made)
    async def policy_seen(event: kopf.RawEvent, namespace: str | None, **_: object) -> None:
        hub = hubs[namespace or ""]
        await hub.started.wait()
        await hub.see_policy(event["type"], event["object"])

    return made


async def sighted(hub: Hub, event: kopf.RawEvent) -> None:
    """A pod is, or was, as the event says, at the instant at which it comes: the hub may not know its past yet."""
    at = hub.now()  # before it waits, or a pod would have been seen while it was gone already
    await hub.started.wait()
    if event["type"] is None:
        hub.relisted.set()
    hub.see([Sight(event["object"], at, event["type"] == "DELETED")])


def settings(request_timeout: float) -> kopf.OperatorSettings:
    """kopf's own settings, each for a reason."""
    made = kopf.OperatorSettings()
    made.scanning.disabled = True  # it needs no rights on CRDs and namespaces then
    made.posting.enabled = False  # no Event for each line of the log
    made.persistence.finalizer = "hubquota.dev/unused"  # never set: there are no handlers that need one
    made.persistence.diffbase_storage = _NoDifferences()
    made.watching.server_timeout = 300
    made.watching.client_timeout = 330
    made.networking.connect_timeout = request_timeout
    made.networking.request_timeout = 3 * request_timeout
    # Flat and endless: its default left it blind for up to 21 s after an outage.
    made.networking.error_backoffs = _Endless(1.0)
    # A worker is kept for each object until it is idle for so long, so that many objects at once would wait for workers
    # that do nothing: by its defaults, and at most 100 of them, 20 pods a second.
    made.queueing.worker_limit = 1000
    made.queueing.idle_timeout = 0.1
    return made


def _login_of_the_pod(**_: object) -> kopf.ConnectionInfo:
    """The address that the cluster gives its pods: kopf's own would ask the cluster's DNS, which not every pod has."""
    told = of_the_pod()
    _, _, token = told.api_key["BearerToken"].partition(" ")
    return kopf.ConnectionInfo(server=told.host, ca_path=told.ssl_ca_cert, token=token)


class _NoDifferences(kopf.DiffBaseStorage):
    """Nothing to compare an object with: its own copies each of them whole, twice an event, and no handler asks."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nowhere: what is watched is somebody else's."""


class _Endless(tuple[float, ...]):
    """The same pause again and again, for kopf iterates over its backoffs anew for each request."""

    def __new__(cls, seconds: float) -> "_Endless":
        return super().__new__(cls, (seconds,) * 86_400)
