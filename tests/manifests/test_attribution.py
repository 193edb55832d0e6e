"""Whose a pod is, only the hub says, and nobody changes: in namespaces that are labelled as a hub's."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manifests.conftest import Ask
from tests.testbed.control_plane import ControlPlane
from tests.testbed.manifests import apply_cluster
from tests.testbed.rest import Json
from tests.testbed.stage import Stage

pytestmark = pytest.mark.cluster
OURS = "hubquota.dev/user"
KUBESPAWNER = "hub.jupyter.org/username"
PRIMEHUB = "primehub.io/usage"


def pod(name: str = "p", **annotations: str) -> Json:
    body: Json = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations}}
    return body | {"spec": {"containers": [{"name": "notebook", "image": "i"}]}}


@pytest.fixture
def guarded(api: ControlPlane, granted: str) -> str:
    """A hub's namespace in which the policy is in force."""
    apply_cluster(api)
    assert api.kubectl("label", "namespace", granted, "hubquota.dev/hub=true").returncode == 0
    make = ("run", "forged", "--image=i", f"--annotations={OURS}=bob", "--dry-run=server", "-n", granted)
    deadline = time.monotonic() + 30
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
    assert (
        api.kubectl("create", "role", "z2jh", "--verb=create,patch", "--resource=pods", "-n", guarded).returncode == 0
    )
    bind = ("create", "rolebinding", "z2jh", "--role=z2jh", f"--serviceaccount={guarded}:hub", "-n", guarded)
    assert api.kubectl(*bind).returncode == 0
    assert (await ask_as("hub", "POST", pods, pod(**{KUBESPAWNER: "alice"})))[0] == 200
    for account, path in (("hub", f"{pods}/p"), ("admin", f"{pods}/p"), ("admin", f"{pods}/p/status")):
        for change in ({KUBESPAWNER: "bob"}, {KUBESPAWNER: None}, {OURS: "bob"}):
            code, told = await ask_as(account, "PATCH", path, {"metadata": {"annotations": change}})
            assert code == 403
            assert "whose a pod is never changes" in told["message"]
        assert (await ask_as(account, "PATCH", path, {"metadata": {"annotations": {"harmless": "yes"}}}))[0] == 200
    binding = {"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n"}}
    forged = binding | {"metadata": {"name": "p", "annotations": {OURS: "bob"}}}
    assert (await ask_as("admin", "POST", f"{pods}/p/binding", forged))[0] == 403
    assert (await ask_as("admin", "POST", f"{pods}/p/binding", binding | {"metadata": {"name": "p"}}))[0] == 200


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
