"""One control plane for all tests; each test that needs room takes a namespace of its own.

Where the control plane comes from is in testbed/providers.py. Tests that need more of it than every provider has ask
for ``own_control_plane``, ``namespace_controller`` or ``built_programs``; where these are not to be had, such tests are
left out, and the summary says so.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.testbed.binaries import Binaries, built
from tests.testbed.control_plane import ControlPlane
from tests.testbed.environments import HUBS, hub_python
from tests.testbed.hub import ROOT, HubRunner
from tests.testbed.local import LocalControlPlane
from tests.testbed.postgres import Postgres
from tests.testbed.processes import Program
from tests.testbed.providers import chosen, control_plane, programs

CRDS = ROOT / "crds"
# No timing is asserted. (Its plugin would import it at the end else, too deep in calls for Python 3.11 to compile it.)
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


def lacking() -> dict[str, str]:
    """Fixtures that the chosen provider cannot give, and why."""
    provider, found = chosen(), {}
    if not provider.has_parts:
        why = f"etcd and kube-apiserver of {provider.name} are not ours to kill"
        found["own_control_plane"] = found["killable_programs"] = why
    if not provider.builds:
        found["built_programs"] = f"{provider.name} is used instead"
    if not provider.empties_namespaces:
        found["namespace_controller"] = f"{provider.name} has no kube-controller-manager"
    return found


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, for tests that wait for servers leave them idle."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    without = lacking().keys()
    out = [item for item in items if without & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for fixture, why in lacking().items():
        terminalreporter.write_line(f"left out: tests that need {fixture}, for {why}")


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real API server that knows our resources."""
    found = control_plane(tmp_path_factory.mktemp("control-plane"))
    try:
        found.start()
        found.apply(CRDS)
        yield found
    finally:
        found.stop()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A real PostgreSQL; each test takes a database of its own in it."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def own_control_plane(api: ControlPlane) -> LocalControlPlane:
    """The same, where its parts are ours to kill and start again."""
    assert isinstance(api, LocalControlPlane), lacking()
    return api


@pytest.fixture
def killable_programs(tmp_path: Path) -> Binaries:
    """What a control plane of a test's own is made of, for those that leave nothing of it as it was."""
    return programs(tmp_path / "never-started")


@pytest.fixture
def built_programs() -> Binaries:
    """The programs that the Go toolchain built."""
    assert chosen().builds, lacking()
    return built()


@pytest.fixture
def namespace_controller(api: ControlPlane) -> ControlPlane:
    """The same, where a deleted namespace goes by itself."""
    assert api.empties_namespaces, lacking()
    return api


@pytest.fixture
def namespace(api: ControlPlane) -> Iterator[str]:
    """A namespace that goes when the test ends."""
    with api.namespace() as name:
        yield name


@pytest.fixture
def kubelet(api: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Path]:
    """A fake kubelet for the namespace; gives its log, which is the truth."""
    log = tmp_path / "kubelet.jsonl"
    command = [sys.executable, "-m", "tests.testbed.fake_kubelet", str(api.kubeconfig), namespace, str(log)]
    program = Program("fake-kubelet", command, tmp_path / "fake-kubelet.log", folder=ROOT)
    program.start()
    yield log
    program.stop()


@pytest.fixture(scope="module", params=HUBS, ids=[f"JupyterHub {major}" for major in HUBS])
def python(request: pytest.FixtureRequest) -> Path:
    """The Python of each JupyterHub that the hook serves."""
    return hub_python(request.param)


@pytest.fixture
def hub(api: ControlPlane, namespace: str, kubelet: Path, tmp_path: Path) -> Iterator[HubRunner]:
    """A JupyterHub without our hook."""
    runner = HubRunner(api, namespace, tmp_path / "hub")
    runner.start()
    yield runner
    runner.stop()
