"""The test bed's control plane is a real one, and stands what tests do to it."""

import json
import subprocess

import pytest

from tests.testbed.binaries import VERSION, Binaries
from tests.testbed.control_plane import ControlPlane
from tests.testbed.local import LocalControlPlane
from tests.testbed.patience import until

pytestmark = pytest.mark.cluster


def test_the_api_server_is_the_program_that_it_should_be(own_control_plane: LocalControlPlane) -> None:
    own = subprocess.run([own_control_plane.binaries["kube-apiserver"], "--version"], capture_output=True, text=True)
    running = json.loads(own_control_plane.kubectl("version", "-o", "json").stdout)["serverVersion"]["gitVersion"]
    assert own.stdout.strip() == f"Kubernetes {running}"


def test_the_built_api_server_is_of_the_pinned_version(built_programs: Binaries) -> None:
    program = built_programs["kube-apiserver"]
    assert subprocess.run([program, "--version"], capture_output=True, text=True).stdout == f"Kubernetes {VERSION}\n"


def test_what_was_written_survives_a_kill_of_api_server_and_etcd(
    own_control_plane: LocalControlPlane, namespace: str
) -> None:
    api = own_control_plane
    assert api.kubectl("create", "configmap", "kept", "-n", namespace).returncode == 0
    for part in (api.apiserver, api.etcd):
        part.kill()
        assert not part.running
    api.etcd.start()
    api.apiserver.start()
    api.wait()
    assert api.kubectl("get", "configmap", "kept", "-n", namespace).returncode == 0


def test_a_service_account_has_only_what_its_role_gives(api: ControlPlane, namespace: str) -> None:
    assert api.kubectl("create", "serviceaccount", "hub", "-n", namespace).returncode == 0
    config = api.kubeconfig_for(namespace, "hub")
    told = api.kubectl(f"--kubeconfig={config}", "get", "pods", "-n", namespace)
    assert "forbidden" in told.stderr.lower()


def test_a_deleted_namespace_goes_by_itself(namespace_controller: ControlPlane, namespace: str) -> None:
    assert namespace_controller.kubectl("create", "configmap", "inside", "-n", namespace).returncode == 0
    namespace_controller.end_namespace(namespace)
    until(lambda: not namespace_controller.has_namespace(namespace))
