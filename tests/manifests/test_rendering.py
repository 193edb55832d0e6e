"""What an admin applies is taken by the API server as it stands, and says one thing in one place."""

import json
import re
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

import hubquota_hook
from hubquota.settings import load
from tests.testbed.control_plane import ControlPlane
from tests.testbed.manifests import MANIFESTS, OPERATOR, rendered

pytestmark = pytest.mark.cluster
EXAMPLES = sorted((MANIFESTS / "examples").glob("*.yaml"))
#: Where each folder puts the operator, and the hubs that it serves.
FOLDERS = {
    "base": ("jupyterhub", ["jupyterhub"]),
    "overlays/one-hub": ("my-hub", ["my-hub"]),
    "overlays/several-hubs": ("hubquota", ["hub-a", "hub-b"]),
}


def deployment(kubectl: Path, folder: str = "base") -> dict[str, Any]:
    found: dict[str, Any] = next(body for body in rendered(kubectl, folder) if body["kind"] == "Deployment")
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_api_server_takes_all_of_it(api: ControlPlane, folder: str) -> None:
    operator, hubs = FOLDERS[folder]
    for namespace in {operator, *hubs}:
        api.kubectl("create", "namespace", namespace)
    strictly = ("--server-side", "--dry-run=server", "--validate=strict")
    done = api.kubectl("apply", *strictly, "-k", str(MANIFESTS / folder))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(rendered(api.kubectl_program, folder))


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_binding_names_accounts_of_the_namespaces_at_hand(api: ControlPlane, folder: str) -> None:
    operator, hubs = FOLDERS[folder]
    bindings = [body for body in rendered(api.kubectl_program, folder) if body["kind"] == "RoleBinding"]
    found = {
        (binding["metadata"]["namespace"], subject["namespace"], subject["name"], binding["roleRef"]["name"])
        for binding in bindings
        for subject in binding["subjects"]
    }
    assert found == {
        (operator, operator, OPERATOR, "hubquota-writer"),
        *((hub, operator, OPERATOR, "hubquota-operator") for hub in hubs),
        *((hub, hub, "hub", "hubquota-hub") for hub in hubs),
    }


def test_the_operator_s_pod_keeps_to_the_restricted_pod_security_standard(api: ControlPlane, namespace: str) -> None:
    label = ("pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/enforce-version=latest")
    assert api.kubectl("label", "namespace", namespace, *label).returncode == 0
    pod = deployment(api.kubectl_program)["spec"]["template"]
    pod |= {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}}
    create = ("create", "-n", namespace, "--dry-run=server", "--validate=strict", "-f", "-")
    done = api.kubectl(*create, stdin=json.dumps(pod))
    assert done.returncode == 0, done.stderr
    del pod["spec"]["securityContext"]["seccompProfile"]
    assert "seccompProfile" in api.kubectl(*create, stdin=json.dumps(pod)).stderr  # it is really judged


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_operator_reads_its_settings_and_can_write_its_ledger(
    api: ControlPlane, folder: str, tmp_path: Path
) -> None:
    pod = deployment(api.kubectl_program, folder)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    file = PurePosixPath(container["args"][container["args"].index("--config") + 1])
    assert mounts[str(file.parent)]["readOnly"]
    config = next(o for o in rendered(api.kubectl_program, folder) if o["kind"] == "ConfigMap")
    written = tmp_path / file.name
    written.write_text(config["data"][file.name])
    settings = load([written])
    ledger = PurePosixPath(settings.database().removeprefix("sqlite:///"))
    volume = next(v for v in pod["volumes"] if v["name"] == mounts[str(ledger.parent)]["name"])
    claim = next(o for o in rendered(api.kubectl_program, folder) if o["kind"] == "PersistentVolumeClaim")
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    operator, hubs = FOLDERS[folder]
    assert list(settings.hub_namespaces or [operator]) == hubs


def test_the_image_is_the_one_that_this_version_builds(api: ControlPlane) -> None:
    (container,) = deployment(api.kubectl_program)["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"hubquota:{version('hubquota')}"


def test_z2jh_is_given_the_hook_where_its_configuration_imports_from_and_options_that_it_has() -> None:
    hub = yaml.safe_load((MANIFESTS / "z2jh-values.yaml").read_text())["hub"]
    (file,) = hub["extraFiles"].values()
    assert file["mountPath"] == f"/usr/local/etc/jupyterhub/{Path(hubquota_hook.__file__).name}"
    assert hub["config"]["HubQuota"].keys() <= hubquota_hook.HubQuota.class_traits(config=True).keys()


def test_what_the_guide_names_is_there() -> None:
    root = MANIFESTS.parent
    named = set(
        re.findall(r"(?:manifests|hub_hook|crds|docs)/[\w./-]+\w", (root / "docs" / "installing.md").read_text())
    )
    assert named
    assert {name for name in named if not (root / name).exists()} == set()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_api_server_takes_each_example(api: ControlPlane, namespace: str, example: Path) -> None:
    create = ("create", "-n", namespace, "--dry-run=server", "--validate=strict", "-f", str(example))
    done = api.kubectl(*create)
    assert done.returncode == 0, done.stderr


def test_there_are_examples() -> None:
    assert EXAMPLES
