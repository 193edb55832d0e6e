"""The operator as it runs in a pod: no kubeconfig, the cluster's address in its environment, its account in a folder.

The folder has a fixed place, so the operator gets a mount namespace of its own in which that place is empty.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cluster.test_operator import HUBQUOTA, POLICY, Bench, ago, eventually
from tests.testbed.local import LocalControlPlane
from tests.testbed.manifests import OPERATOR, give_rights, rendered
from tests.testbed.patience import PATIENCE
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster
UNSHARE = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
#: Under a user id that has no name, as in the image.
NAMELESS = ["unshare", "--user", "--map-user=65532", "--map-group=65532", "env", "-u", "USER", "-u", "LOGNAME"]
#: Mounts an account ($1) where a pod has it, and becomes the program that follows.
IN_POD = """
set -e
mount -t tmpfs tmpfs /var/run
mkdir -p /var/run/secrets/kubernetes.io/serviceaccount
cp "$1"/* /var/run/secrets/kubernetes.io/serviceaccount
shift
exec env -u KUBECONFIG "$@"
"""


@pytest.fixture
def account(own_control_plane: LocalControlPlane, namespace: str, tmp_path: Path) -> Path:
    """The operator's service account as the kubelet mounts it. It has no rights yet."""
    assert own_control_plane.kubectl("create", "serviceaccount", OPERATOR, "-n", namespace).returncode == 0
    folder = tmp_path / "account"
    folder.mkdir()
    told = own_control_plane.kubectl("create", "token", OPERATOR, "-n", namespace)
    (folder / "token").write_text(told.stdout.strip())
    (folder / "namespace").write_text(namespace)
    shutil.copy(own_control_plane.authority, folder / "ca.crt")
    return folder


@pytest.fixture
def operator(own_control_plane: LocalControlPlane, account: Path, tmp_path: Path) -> Iterator[Program]:
    """An operator with the settings of the manifests; only its ledger is elsewhere."""
    settings = next(body for body in rendered(own_control_plane.kubectl_program) if body["kind"] == "ConfigMap")[
        "data"
    ]["settings.yaml"]
    (tmp_path / "settings.yaml").write_text(settings)
    address = urlsplit(own_control_plane.url)
    env = {
        "KUBERNETES_SERVICE_HOST": str(address.hostname),
        "KUBERNETES_SERVICE_PORT": str(address.port),
        "HUBQUOTA_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
    }
    run = [str(HUBQUOTA), "operator", "--config", str(tmp_path / "settings.yaml")]
    command = [*UNSHARE, "sh", "-c", IN_POD, "sh", str(account), *NAMELESS, *run]
    program = Program("operator", command, tmp_path / "operator.log", env)
    program.start()
    yield program
    program.stop(15)


def test_an_operator_in_a_pod_serves_its_own_namespace_with_its_own_account(
    own_control_plane: LocalControlPlane, namespace: str, operator: Program, tmp_path: Path
) -> None:
    eventually(lambda: "Lease cannot be had" in operator.last_words(), operator)
    assert (
        f'cannot get resource \\"leases\\" in API group \\"coordination.k8s.io\\" in the namespace \\"{namespace}\\"'
        in (operator.last_words())
    )
    give_rights(own_control_plane, namespace)
    bench = Bench(own_control_plane, namespace, tmp_path)
    bench.create(POLICY)
    eventually(lambda: f"hub={namespace} is served" in operator.last_words(), operator)
    given = len(operator.last_words(1_000_000))
    bench.place("jupyter-alice", "alice", ago(600))
    eventually(lambda: bench.used_seconds("alice") >= 600, operator)
    holder = bench.read("lease", "hubquota-writer")["spec"]["holderIdentity"]
    assert holder.endswith(f"-{operator.pid}")
    operator.stop(15)
    assert "forbidden" not in operator.last_words(1_000_000)[given:]


def test_an_operator_in_a_pod_that_was_given_no_address_says_so(account: Path, tmp_path: Path) -> None:
    command = [*UNSHARE, "sh", "-c", IN_POD, "sh", str(account), "env", "-u", "KUBERNETES_SERVICE_HOST"]
    env = {"HUBQUOTA_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db"}
    program = Program("operator", [*command, str(HUBQUOTA), "operator"], tmp_path / "operator.log", env)
    program.start()
    deadline = time.monotonic() + PATIENCE
    while program.running:
        assert time.monotonic() < deadline, program.last_words()
        time.sleep(0.1)
    assert "ends: this pod's service account cannot be used: Service host/port is not set." in program.last_words()
    assert "Traceback" not in program.last_words(100_000)
