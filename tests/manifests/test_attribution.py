"""Whose a pod is, only the hub says, and nobody changes: in namespaces that are labelled as a hub's."""

import asyncio
import os
import re
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.manifests.conftest import Ask, allow
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import ROOT
from tests.testbed.manifests import MANIFESTS, apply_cluster
from tests.testbed.patience import PATIENCE
from tests.testbed.rest import Json
from tests.testbed.stage import Stage

pytestmark = pytest.mark.cluster
OURS = "hubquota.dev/user"
KUBESPAWNER = "hub.jupyter.org/username"
PRIMEHUB = "primehub.io/usage"
#: What z2jh lets a hub do with pods, as far as it matters here.
PODS: Json = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "patch"]}
GUIDE = ROOT / "docs" / "attribution.md"


def pod(name: str = "p", **annotations: str) -> Json:
    body: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations}}
    return body | {"spec": {"containers": [{"name": "notebook", "image": "i"}]}}


@pytest.fixture
def guarded(api: ControlPlane, granted: str) -> str:
    """A hub's namespace in which the policy is in force."""
    apply_cluster(api)
    assert api.kubectl("label", "namespace", granted, "hubquota.dev/hub=true").returncode == 0
    make = ("run", "forged", "--image=i", f"--annotations={OURS}=bob", "--dry-run=server", "-n", granted)
    deadline = time.monotonic() + PATIENCE
    while api.kubectl(*make).returncode == 0:  # the API server takes a new policy up in its own time
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return granted


@pytest.mark.parametrize("name", [OURS, KUBESPAWNER, "hub.jupyter.org/servername", PRIMEHUB, "hubquota.dev/groups"])
async def test_who_is_not_the_hub_makes_no_pod_in_a_user_s_name(guarded: str, ask_as: Ask, name: str) -> None:
    pods = f"/api/v1/namespaces/{guarded}/pods"
    code, told = await ask_as("admin", "POST", pods, pod(**{name: "bob"}))
    assert code == 403
    assert f"only the hub says whose a pod is: leave out the annotations {name}" in told["message"]
    assert (await ask_as("admin", "POST", pods, pod(harmless="yes")))[0] == 200


async def test_nobody_changes_whose_a_pod_is_by_any_way_to_write_one(
    api: ControlPlane, guarded: str, ask_as: Ask
) -> None:
    pods = f"/api/v1/namespaces/{guarded}/pods"
    allow(api, guarded, "z2jh", PODS, "hub")
    assert (await ask_as("hub", "POST", pods, pod(**{KUBESPAWNER: "alice"})))[0] == 200
    for account, path in (("hub", f"{pods}/p"), ("admin", f"{pods}/p"), ("admin", f"{pods}/p/status")):
        for change in ({KUBESPAWNER: "bob"}, {KUBESPAWNER: None}, {OURS: "bob"}):
            code, told = await ask_as(account, "PATCH", path, {"metadata": {"annotations": change}})
            assert code == 403
            assert "whose a pod is never changes" in told["message"]
        assert (await ask_as(account, "PATCH", path, {"metadata": {"annotations": {"harmless": "yes"}}}))[0] == 200


@pytest.mark.parametrize("path", ["pods/p/binding", "bindings"])
async def test_whoever_gives_a_pod_its_node_gives_it_no_user(
    api: ControlPlane, guarded: str, ask_as: Ask, path: str
) -> None:
    rule = {"apiGroups": [""], "resources": ["bindings", "pods/binding"], "verbs": ["create"]}
    allow(api, guarded, "binds", rule, "hub")
    within = f"/api/v1/namespaces/{guarded}"
    assert (await ask_as("admin", "POST", f"{within}/pods", pod()))[0] == 200
    binding = {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n"}}
    for account in ("admin", "hub"):
        forged = binding | {"metadata": {"name": "p", "annotations": {OURS: "bob"}}}
        code, told = await ask_as(account, "POST", f"{within}/{path}", forged)
        assert (code, "only the hub says whose a pod is" in told["message"]) == (403, True)
    assert (await ask_as("admin", "POST", f"{within}/{path}", binding | {"metadata": {"name": "p"}}))[0] == 200
    _, bound = await ask_as("admin", "GET", f"{within}/pods/p")
    assert (bound["spec"]["nodeName"], OURS in bound["metadata"].get("annotations", {})) == ("n", False)


@pytest.fixture
def dask(api: ControlPlane, guarded: str) -> str:
    """An account with which a user's code makes pods of its own, as Dask does."""
    api.objects(guarded).create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "dask"}})
    allow(api, guarded, "dask", PODS | {"verbs": ["get", "list", "create", "update", "patch", "delete"]}, "dask")
    allow(api, guarded, "z2jh", PODS, "hub")
    return "dask"


async def test_whoever_makes_pods_from_a_user_s_server_charges_no_colleague(
    guarded: str, dask: str, ask_as: Ask
) -> None:
    pods = f"/api/v1/namespaces/{guarded}/pods"
    for marks in ({KUBESPAWNER: "bob"}, {OURS: "bob"}, {PRIMEHUB: '{"user": "bob"}'}, {"hubquota.dev/groups": "[]"}):
        code, told = await ask_as(dask, "POST", pods, pod("worker", **marks))
        assert (code, "only the hub says whose a pod is" in told["message"]) == (403, True)
    assert (await ask_as(dask, "POST", pods, pod("worker", harmless="yes")))[0] == 200
    for marks in ({KUBESPAWNER: "bob"}, {OURS: "bob"}):
        assert (await ask_as(dask, "PATCH", f"{pods}/worker", {"metadata": {"annotations": marks}}))[0] == 403
    assert (await ask_as("hub", "POST", pods, pod("jupyter-alice", **{KUBESPAWNER: "alice", "x": "y"})))[0] == 200
    _, mine = await ask_as(dask, "GET", f"{pods}/jupyter-alice")
    for annotations in ({}, {"x": "y"}, {KUBESPAWNER: "bob"}):  # dropped with all others, alone, and changed
        mine["metadata"]["annotations"] = annotations
        code, told = await ask_as(dask, "PUT", f"{pods}/jupyter-alice", mine)
        assert (code, "whose a pod is never changes" in told["message"]) == (403, True)
    mine["metadata"]["annotations"] = {KUBESPAWNER: "alice"}
    assert (await ask_as(dask, "PUT", f"{pods}/jupyter-alice", mine))[0] == 200


async def test_whoever_makes_pods_from_a_user_s_server_does_not_get_the_hub_s_account_by_one(
    guarded: str, dask: str, ask_as: Ask
) -> None:
    pods = f"/api/v1/namespaces/{guarded}/pods"
    for field in ("serviceAccountName", "serviceAccount"):
        body = pod("worker")
        body["spec"][field] = "hub"
        code, told = await ask_as(dask, "POST", pods, body)
        assert (code, "take another service account" in told["message"]) == (403, True)
    body["spec"] |= {"serviceAccount": "dask", "serviceAccountName": "dask"}
    assert (await ask_as(dask, "POST", pods, body))[0] == 200
    # The hub's own pod is made by the cluster's controllers, and by its admins.
    body = pod("hub-0")
    body["spec"]["serviceAccountName"] = "hub"
    assert (await ask_as("admin", "POST", pods, body))[0] == 200


def by_the_guide(folder: Path, account: str) -> str:
    """A copy of an overlay in which an admin has named this account, as the guide says it."""
    [patches] = re.findall(r"(?m)^    patches:\n(?:^    .*\n)+", GUIDE.read_text())
    named = yaml.safe_load(textwrap.dedent(patches).replace("dask-gateway:dask-gateway", account))
    cluster = {"resources": [os.path.relpath(MANIFESTS / "cluster", folder.resolve())]}
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kind | cluster | named))
    return str(folder)


async def test_an_account_that_an_admin_names_may_make_pods_for_users_too(
    api: ControlPlane, guarded: str, dask: str, ask_as: Ask, tmp_path: Path
) -> None:
    done = api.kubectl("apply", "--server-side", "-k", by_the_guide(tmp_path, f"{guarded}:{dask}"))
    assert done.returncode == 0, done.stderr
    try:
        pods = f"/api/v1/namespaces/{guarded}/pods"
        deadline = time.monotonic() + PATIENCE
        while (await ask_as(dask, "POST", f"{pods}?dryRun=All", pod("worker", **{OURS: "alice"})))[0] != 200:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert (await ask_as("hub", "POST", pods, pod("jupyter-alice", **{KUBESPAWNER: "alice"})))[0] == 200
        assert (await ask_as("admin", "POST", pods, pod("other", **{OURS: "alice"})))[0] == 403
    finally:
        apply_cluster(api)


async def test_a_namespace_that_is_no_hub_s_is_left_alone(guarded: str, ask_as: Ask) -> None:
    assert guarded
    assert (await ask_as("admin", "POST", "/api/v1/namespaces/default/pods?dryRun=All", pod(**{OURS: "bob"})))[0] == 200


@pytest.fixture
def stage(api: ControlPlane, guarded: str, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(api, guarded, tmp_path / "stage")
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.hub
def test_a_hub_starts_restarts_and_ends_servers_where_it_is_in_force(stage: Stage) -> None:
    for _ in range(2):
        assert stage.hub.launch("alice", profile="small")[-1].get("ready"), stage.hub.program.last_words()
        assert stage.get("pod", "jupyter-alice")["metadata"]["annotations"][KUBESPAWNER] == "alice"
        stage.hub.end_server("alice")
