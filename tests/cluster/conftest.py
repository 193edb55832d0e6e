"""An API client as the operator has it."""

from collections.abc import AsyncIterator

import pytest

from hubquota.cluster.api import Api, connected
from tests.testbed.control_plane import ControlPlane


@pytest.fixture
async def server(api: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """The API server through the operator's own client."""
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    async with connected(10) as found:
        yield found
