"""What an admin applies is taken by the API server as it stands, and says one thing in one place."""

import json
import os
import re
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

import hubquota_hook
from hubquota.settings import Settings, load
from tests.testbed.control_plane import ControlPlane
from tests.testbed.manifests import MANIFESTS, OPERATOR, rendered

pytestmark = pytest.mark.cluster
EXAMPLES = sorted((MANIFESTS / "examples").glob("*.yaml"))
#: Where each folder puts the operator, and the hubs that it serves.
MONITOR = "hubquota-monitor"
FOLDERS = {
    "base": ("jupyterhub", ["jupyterhub"]),
    "overlays/one-hub": ("my-hub", ["my-hub"]),
    "overlays/several-hubs": ("hubquota", ["hub-a", "hub-b"]),
    "overlays/hubs-by-label": ("hubquota", ["hub-a"]),
    "overlays/postgresql": ("jupyterhub", ["jupyterhub"]),
}
ON_SQLITE = [folder for folder in FOLDERS if folder != "overlays/postgresql"]


def deployment(kubectl: Path, folder: str = "base", name: str = OPERATOR) -> dict[str, Any]:
    found = (body for body in rendered(kubectl, folder) if body["kind"] == "Deployment")
    return next(body for body in found if body["metadata"]["name"] == name)


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
    monitored = {(hub, operator, MONITOR, MONITOR) for hub in hubs if folder == "overlays/postgresql"}
    assert found == monitored | {
        (operator, operator, OPERATOR, "hubquota-writer"),
        *((hub, operator, OPERATOR, "hubquota-operator") for hub in hubs),
        *((hub, hub, "hub", "hubquota-hub") for hub in hubs),
    }


@pytest.mark.parametrize(("folder", "name"), [("base", OPERATOR), ("overlays/postgresql", MONITOR)])
def test_the_pod_keeps_to_the_restricted_pod_security_standard(
    api: ControlPlane, namespace: str, folder: str, name: str
) -> None:
    label = ("pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/enforce-version=latest")
    assert api.kubectl("label", "namespace", namespace, *label).returncode == 0
    pod = deployment(api.kubectl_program, folder, name)["spec"]["template"]
    pod |= {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}}
    create = ("create", "-n", namespace, "--dry-run=server", "--validate=strict", "-f", "-")
    done = api.kubectl(*create, stdin=json.dumps(pod))
    assert done.returncode == 0, done.stderr
    del pod["spec"]["securityContext"]["seccompProfile"]
    assert "seccompProfile" in api.kubectl(*create, stdin=json.dumps(pod)).stderr  # it is really judged


@pytest.mark.parametrize("folder", ON_SQLITE)
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
    if settings.hub_selector is None:
        assert list(settings.hub_namespaces or [operator]) == hubs
    port = next(p["containerPort"] for p in container["ports"] if p["name"] == "metrics")
    assert (settings.metrics_port, str(settings.metrics_address)) == (port, "0.0.0.0")


@pytest.mark.parametrize(("name", "replicas"), [(OPERATOR, 2), (MONITOR, 1)])
def test_processes_on_postgresql_have_its_url_and_password_from_a_secret_and_share_no_volume(
    api: ControlPlane, tmp_path: Path, name: str, replicas: int
) -> None:
    found = {body["kind"]: body for body in rendered(api.kubectl_program, "overlays/postgresql")}
    assert "PersistentVolumeClaim" not in found
    told = deployment(api.kubectl_program, "overlays/postgresql", name)["spec"]
    assert told["replicas"] == replicas
    pod = told["template"]["spec"]
    (container,) = pod["containers"]
    assert sorted(v["name"] for v in pod["volumes"]) == sorted(m["name"] for m in container["volumeMounts"])
    (tmp_path / "settings.yaml").write_text(found["ConfigMap"]["data"]["settings.yaml"])
    settings = load([tmp_path / "settings.yaml"])
    assert settings.database_url_file is not None
    assert settings.database_password_file is not None
    for file in (settings.database_url_file, settings.database_password_file):
        mount = next(m for m in container["volumeMounts"] if m["mountPath"] == str(file.parent))
        volume = next(v for v in pod["volumes"] if v["name"] == mount["name"])
        assert mount["readOnly"]
        assert volume["secret"]["secretName"] == "hubquota-database"


def test_the_component_for_labels_of_nodes_goes_into_an_overlay_and_names_its_operator(
    api: ControlPlane, tmp_path: Path
) -> None:
    found = base_with(api, tmp_path, "node-labels")
    binding = next(body for body in found if body["kind"] == "ClusterRoleBinding")
    account = next(body for body in found if body["kind"] == "ServiceAccount")["metadata"]
    assert [(s["name"], s["namespace"]) for s in binding["subjects"]] == [(account["name"], account["namespace"])]


def test_the_component_for_a_hub_s_api_gives_its_operator_the_one_token(api: ControlPlane, tmp_path: Path) -> None:
    found = base_with(api, tmp_path, "hub-api")
    template = next(body for body in found if body["kind"] == "Deployment")["spec"]["template"]
    assert template["metadata"]["labels"]["hub.jupyter.org/network-access-hub"] == "true"
    (container,) = template["spec"]["containers"]
    told = {entry["name"].removeprefix("HUBQUOTA_").lower(): entry["value"] for entry in container["env"]}
    where = Settings(**told).hub_api("jupyterhub")
    assert where is not None
    url, file = where
    assert url == "http://hub.jupyterhub.svc:8081/hub/api"
    mount = next(m for m in container["volumeMounts"] if m["mountPath"] == str(file.parent))
    secret = next(v for v in template["spec"]["volumes"] if v["name"] == mount["name"])["secret"]
    (service,) = yaml.safe_load((MANIFESTS / "z2jh-hub-api-values.yaml").read_text())["hub"]["services"]
    assert secret["items"] == [{"key": f"hub.services.{service}.apiToken", "path": file.name}]


def base_with(api: ControlPlane, folder: Path, component: str) -> list[dict[str, Any]]:
    """The base with a component, as an admin's overlay has them; the API server takes all of it."""
    written: dict[str, Any] = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    written |= {"resources": [relative(folder, "base")], "components": [relative(folder, f"components/{component}")]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(written))
    strictly = ("--server-side", "--dry-run=server", "--validate=strict")
    api.kubectl("create", "namespace", "jupyterhub")
    done = api.kubectl("apply", *strictly, "-k", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    return list(yaml.safe_load_all(api.kubectl("kustomize", str(folder)).stdout))


def relative(folder: Path, name: str) -> str:
    """A folder of manifests as a kustomization elsewhere names it."""
    return os.path.relpath(MANIFESTS / name, folder.resolve())


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
