"""The test bed's control plane is a real one, and stands what tests do to it."""

import json
import time

import pytest

from tests.testbed.binaries import VERSION
from tests.testbed.control_plane import ControlPlane

pytestmark = pytest.mark.cluster


def test_the_api_server_is_the_pinned_one(api: ControlPlane) -> None:
    assert json.loads(api.kubectl("version", "-o", "json").stdout)["serverVersion"]["gitVersion"] == VERSION


def test_what_was_written_survives_a_kill_of_api_server_and_etcd(api: ControlPlane, namespace: str) -> None:
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


def test_a_deleted_namespace_goes(api: ControlPlane) -> None:
    assert api.kubectl("create", "namespace", "passing").returncode == 0
    assert api.kubectl("delete", "namespace", "passing", "--timeout=30s").returncode == 0
    deadline = time.monotonic() + 30
    while api.kubectl("get", "namespace", "passing").returncode == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
