"""One control plane for all tests; each test that needs room takes a namespace of its own."""

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.binaries import built
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import ROOT, HubRunner
from tests.testbed.processes import Program

CRDS = ROOT / "crds"


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real API server that knows our resources."""
    control_plane = ControlPlane(built(), tmp_path_factory.mktemp("control-plane"))
    try:
        control_plane.start()
        control_plane.apply(CRDS)
        yield control_plane
    finally:
        control_plane.stop()


@pytest.fixture
def namespace(api: ControlPlane) -> Iterator[str]:
    """A namespace that goes when the test ends."""
    name = f"t-{secrets.token_hex(4)}"
    assert api.kubectl("create", "namespace", name).returncode == 0
    yield name
    api.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def kubelet(api: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """A fake kubelet for the namespace; gives its log, which is the truth."""
    log = tmp_path / "kubelet.jsonl"
    command = [sys.executable, "-m", "tests.testbed.fake_kubelet", str(api.kubeconfig), namespace, str(log)]
    program = Program("fake-kubelet", command, tmp_path / "fake-kubelet.log", folder=ROOT)
    program.start()
    yield log
    program.stop()


@pytest.fixture
def hub(api: ControlPlane, namespace: str, kubelet: Path, tmp_path: Path) -> Iterator[HubRunner]:
    """A JupyterHub without our hook."""
    runner = HubRunner(api, namespace, tmp_path / "hub")
    runner.start()
    yield runner
    runner.stop()
