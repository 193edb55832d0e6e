"""The real operator on the real API server says what every scenario expects."""

from pathlib import Path

import pytest

from tests.scenarios.operating import faults
from tests.scenarios.table import through
from tests.scenarios.vocabulary import Runner
from tests.testbed.control_plane import ControlPlane

pytestmark = pytest.mark.cluster
CASES = through(Runner.OPERATOR)


@pytest.mark.parametrize("now", sorted({case.now for case in CASES}))
async def test_the_operator_says_what_scenarios_expect(now: str, api: ControlPlane, tmp_path: Path) -> None:
    found = await faults(api, tmp_path, [case for case in CASES if case.now == now])
    assert not found, "\n".join(f"{name}: {fault}" for name, told in found.items() for fault in told)
