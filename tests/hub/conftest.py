"""Everything together, with each JupyterHub that the hook serves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.control_plane import ControlPlane
from tests.testbed.environments import HUBS, hub_python
from tests.testbed.stage import Stage

#: JupyterHub's own default; z2jh has 0, where every launch goes on in the background.
WAITING = 'c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 10}\n'


@pytest.fixture(params=HUBS, ids=[f"JupyterHub {major}" for major in HUBS])
def python(request: pytest.FixtureRequest) -> Path:
    """The Python of each JupyterHub."""
    return hub_python(request.param)


@pytest.fixture
def stage(api: ControlPlane, namespace: str, tmp_path: Path, python: Path) -> Iterator[Stage]:
    """A hub as z2jh sets it up."""
    yield from _running(Stage(api, namespace, tmp_path / "stage", python=python))


@pytest.fixture
def waiting_stage(api: ControlPlane, namespace: str, tmp_path: Path, python: Path) -> Iterator[Stage]:
    """A hub that answers a request for a launch only when it knows what came of it."""
    yield from _running(Stage(api, namespace, tmp_path / "stage", WAITING, python))


def _running(stage: Stage) -> Iterator[Stage]:
    try:
        stage.start()
        yield stage
    finally:
        stage.stop()
