"""Who may write what: the API server's own word on each right, and the calls that matter most, really made."""

import json
from collections.abc import Awaitable
from itertools import product
from typing import Final

import pytest

from tests.manifests.conftest import Ask
from tests.testbed.control_plane import ControlPlane
from tests.testbed.manifests import MANIFESTS, OPERATOR, apply_cluster, give_rights
from tests.testbed.patience import until
from tests.testbed.rest import Json, Rest
from tests.testbed.stage import policy

pytestmark = pytest.mark.cluster

READ: Final = ("get", "list", "watch")
DAILY: Final = policy(
    "daily",
    scope={"everyone": True},
    resource="memory",
    limit={"value": 40, "unit": "GiB-hours"},
    window={"rolling": "1d"},
)
VERBS: Final = (*READ, "create", "update", "patch", "delete", "deletecollection", "bind", "escalate")
#: A resource with its group, and a name where it is about one object.
Thing = tuple[str, str, str]
POLICIES: Final = ("hubquota.dev", "quotapolicies", "")
USER_QUOTAS: Final = ("hubquota.dev", "userquotas", "")
HEARTBEAT: Final = ("coordination.k8s.io", "leases", "hubquota-heartbeat")
WRITER: Final = ("coordination.k8s.io", "leases", "hubquota-writer")
THINGS: Final[tuple[Thing, ...]] = (
    POLICIES,
    ("hubquota.dev", "quotapolicies/status", ""),
    USER_QUOTAS,
    ("hubquota.dev", "userquotas/status", ""),
    HEARTBEAT,
    WRITER,
    ("coordination.k8s.io", "leases", "another"),
    ("", "events", ""),
    ("", "pods", ""),
    *(("", name, "") for name in ("pods/status", "pods/binding", "pods/exec", "pods/log", "pods/ephemeralcontainers")),
    *(
        ("", name, "")
        for name in ("secrets", "configmaps", "services", "persistentvolumeclaims", "namespaces", "nodes")
    ),
    ("", "serviceaccounts", ""),
    ("", "serviceaccounts/token", ""),
    ("apps", "deployments", ""),
    ("rbac.authorization.k8s.io", "roles", ""),
    ("rbac.authorization.k8s.io", "rolebindings", ""),
    ("apiextensions.k8s.io", "customresourcedefinitions", ""),
)
#: Kubernetes cannot tell which name a Lease will have when it is made.
NEW_LEASES: Final = {
    (("coordination.k8s.io", "leases", name), "create") for name in (HEARTBEAT[2], WRITER[2], "another")
}
OPERATORS: Final = {
    *product([POLICIES, ("", "pods", "")], READ),
    *product([USER_QUOTAS], (*READ, "create", "patch", "delete")),
    *product([("hubquota.dev", f"{kind}/status", "") for kind in ("quotapolicies", "userquotas")], ("update", "patch")),
    *product([HEARTBEAT], ("get", "update", "patch")),
    *product([WRITER], ("get", "update")),
    *product([("", "events", "")], (*READ, "create")),
    *NEW_LEASES,
}
HUBS: Final = {
    *product([POLICIES], READ),
    *product([USER_QUOTAS], (*READ, "create", "patch")),
    (HEARTBEAT, "get"),
    (("", "events", ""), "create"),
}
POLICY_ADMINS: Final = {
    *product([POLICIES], (*READ, "create", "update", "patch", "delete")),
    *product([USER_QUOTAS], READ),
}


async def rights(api: ControlPlane, user: str, namespace: str) -> set[tuple[Thing, str]]:
    """All that a user may do with THINGS, as the API server says."""
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    found = set()
    async with Rest(api.kubeconfig) as rest:
        for thing, verb in product(THINGS, VERBS):
            answer = await rest.call("POST", path, _review(user, namespace, thing, verb))
            if answer["status"]["allowed"]:
                found.add((thing, verb))
    return found


def _review(user: str, namespace: str, thing: Thing, verb: str) -> Json:
    group, kind, name = thing
    resource, _, subresource = kind.partition("/")
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "name": name}
    groups = ["system:authenticated", "system:serviceaccounts"]
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": groups, "resourceAttributes": attributes | {"subresource": subresource}},
    }


def account(namespace: str, name: str) -> str:
    return f"system:serviceaccount:{namespace}:{name}"


@pytest.mark.parametrize(("name", "allowed"), [(OPERATOR, OPERATORS), ("hub", HUBS)])
async def test_an_account_may_do_this_and_nothing_else_and_nothing_elsewhere(
    api: ControlPlane, granted: str, name: str, allowed: set[tuple[Thing, str]]
) -> None:
    assert await rights(api, account(granted, name), granted) == allowed
    assert await rights(api, account(granted, name), "default") == set()


async def test_with_the_component_for_labels_of_nodes_it_lists_nodes_and_may_do_nothing_else_in_the_cluster(
    api: ControlPlane, granted: str
) -> None:
    named = "hubquota-node-reader"
    text = (MANIFESTS / "components" / "node-labels" / "node-reader.yaml").read_text()
    # A name of this test's own, for others ask what an operator without it may do.
    text = text.replace("namespace: jupyterhub", f"namespace: {granted}").replace(named, f"{named}-{granted}")
    assert api.kubectl("apply", "-f", "-", stdin=text).returncode == 0
    try:
        nodes = {(("", "nodes", ""), verb) for verb in ("list", "watch")}
        assert await rights(api, account(granted, OPERATOR), granted) == OPERATORS | nodes
        assert await rights(api, account(granted, OPERATOR), "") == nodes
    finally:
        assert api.kubectl("delete", "-f", "-", stdin=text).returncode == 0


async def test_the_operator_reads_events_and_makes_them_and_changes_none(granted: str, ask_as: Ask) -> None:
    events = f"/api/v1/namespaces/{granted}/events"
    body: Json = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "reason": "NotMetered"}
    body |= {"involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "p", "namespace": granted}}
    assert (await ask_as(OPERATOR, "POST", events, body))[0] == 200
    assert (await ask_as(OPERATOR, "GET", events))[1]["items"][0]["reason"] == "NotMetered"
    assert await refused(ask_as(OPERATOR, "PATCH", f"{events}/e", {"count": 2}), "patch", "events")
    assert await refused(ask_as(OPERATOR, "DELETE", f"{events}/e"), "delete", "events")
    assert await refused(ask_as("hub", "GET", events), "list", "events")


async def test_the_monitor_lists_the_pods_of_its_hubs_and_may_do_nothing_else(api: ControlPlane, granted: str) -> None:
    give_rights(api, granted, "monitor")
    assert await rights(api, account(granted, "hubquota-monitor"), granted) == {(("", "pods", ""), "list")}
    assert await rights(api, account(granted, "hubquota-monitor"), "default") == set()


async def test_who_is_bound_to_the_policy_admin_s_role_writes_policies_and_no_status(
    api: ControlPlane, namespace: str
) -> None:
    bound(api, namespace, "hubquota-policy-admin", "carol")
    assert await rights(api, "carol", namespace) == POLICY_ADMINS


def test_no_role_that_kubernetes_brings_takes_up_the_policy_admin_s(api: ControlPlane) -> None:
    apply_cluster(api)
    roles = json.loads(api.kubectl("get", "clusterroles", "-o", "json").stdout)["items"]
    ours = next(role for role in roles if role["metadata"]["name"] == "hubquota-policy-admin")
    selectors = [s for role in roles for s in role.get("aggregationRule", {}).get("clusterRoleSelectors", ())]
    assert {"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}} in selectors
    for selector in selectors:
        assert not selector["matchLabels"].items() <= ours["metadata"]["labels"].items()


async def test_the_hub_says_who_a_user_is_and_cannot_say_what_they_used(granted: str, ask_as: Ask) -> None:
    ours = f"/apis/hubquota.dev/v1alpha1/namespaces/{granted}/userquotas"
    allowed = {"status": {"decision": "Allowed"}}
    body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "metadata": {"name": "alice"}}
    assert (await ask_as("hub", "POST", ours, body | {"spec": {"user": "alice"}} | allowed))[0] == 200
    assert (await ask_as("hub", "PATCH", f"{ours}/alice", {"spec": {"groups": ["a"]}} | allowed))[0] == 200
    assert await refused(ask_as("hub", "PATCH", f"{ours}/alice/status", allowed), "patch", "userquotas/status")
    _, kept = await ask_as("hub", "GET", f"{ours}/alice")
    assert kept["spec"]["groups"] == ["a"]
    assert "status" not in kept


async def test_the_hub_writes_no_policy_and_reads_no_other_namespace(granted: str, ask_as: Ask) -> None:
    ours = "/apis/hubquota.dev/v1alpha1/namespaces"
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{granted}/leases"
    await ask_as("admin", "POST", f"{ours}/{granted}/quotapolicies", DAILY)
    assert (await ask_as("hub", "GET", f"{ours}/{granted}/quotapolicies/daily"))[0] == 200
    for call, verb, what in (
        (ask_as("hub", "POST", f"{ours}/{granted}/quotapolicies", DAILY), "create", "quotapolicies"),
        (ask_as("hub", "PATCH", f"{ours}/{granted}/quotapolicies/daily", {"spec": {}}), "patch", "quotapolicies"),
        (ask_as("hub", "GET", f"{ours}/default/quotapolicies"), "list", "quotapolicies"),
        (ask_as("hub", "GET", f"{ours}/default/userquotas"), "list", "userquotas"),
        (ask_as("hub", "GET", f"{leases}/hubquota-writer"), "get", "leases"),
    ):
        assert await refused(call, verb, what)


async def test_the_operator_writes_no_pod_and_reads_no_secret(granted: str, ask_as: Ask) -> None:
    pods = f"/api/v1/namespaces/{granted}/pods"
    pod: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "jupyter-alice"}}
    pod |= {"spec": {"containers": [{"name": "notebook", "image": "i"}]}}
    assert (await ask_as("admin", "POST", pods, pod))[0] == 200
    assert (await ask_as(OPERATOR, "GET", f"{pods}/jupyter-alice"))[0] == 200
    marked = {"metadata": {"annotations": {"a": "b"}, "finalizers": ["a.example/b"]}}
    for call, verb, what in (
        (ask_as(OPERATOR, "POST", pods, pod), "create", "pods"),
        (ask_as(OPERATOR, "PATCH", f"{pods}/jupyter-alice", marked), "patch", "pods"),
        (ask_as(OPERATOR, "PATCH", f"{pods}/jupyter-alice/status", {"status": {}}), "patch", "pods/status"),
        (ask_as(OPERATOR, "DELETE", f"{pods}/jupyter-alice"), "delete", "pods"),
        (ask_as(OPERATOR, "GET", f"/api/v1/namespaces/{granted}/secrets"), "list", "secrets"),
        (ask_as(OPERATOR, "GET", "/api/v1/pods"), "list", "pods"),
    ):
        assert await refused(call, verb, what)


async def test_the_operator_says_what_it_thinks_of_a_policy_and_cannot_change_it(granted: str, ask_as: Ask) -> None:
    policies = f"/apis/hubquota.dev/v1alpha1/namespaces/{granted}/quotapolicies"
    assert (await ask_as("admin", "POST", policies, DAILY))[0] == 200
    change = {"spec": {"limit": {"value": 4000}}, "status": {"users": 1}}
    assert await refused(ask_as(OPERATOR, "PATCH", f"{policies}/daily", change), "patch", "quotapolicies")
    assert (await ask_as(OPERATOR, "PATCH", f"{policies}/daily/status", change))[0] == 200
    _, kept = await ask_as("admin", "GET", f"{policies}/daily")
    assert (kept["spec"]["limit"]["value"], kept["status"]["users"]) == (40, 1)


async def refused(call: Awaitable[tuple[int, Json]], verb: str, what: str) -> bool:
    """Whether the API server forbids it, and for want of just this right."""
    code, told = await call
    return code == 403 and f'cannot {verb} resource "{what}"' in told["message"]


def bound(api: ControlPlane, namespace: str, role: str, user: str) -> None:
    apply_cluster(api)
    binding = ("create", "rolebinding", role, f"--clusterrole={role}", f"--user={user}", "-n", namespace)
    assert api.kubectl(*binding).returncode == 0
    rule = {"apiGroups": ["hubquota.dev"], "resources": ["quotapolicies"], "verbs": ["get"]}
    until(lambda: api.objects(namespace).allows(user, rule))
