"""The hook's one file works on each Python that hubs run on, with what a hub image has and nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.hub.interpreters import OPTIONAL, VERSIONS, alone, interpreter, isolated, shelves
from tests.testbed.hub import ROOT

SCRIPT = Path(__file__).with_name("launch_alone.py")


@pytest.mark.hub
@pytest.mark.parametrize("version", VERSIONS)
def test_the_file_alone_judges_launches(version: str, tmp_path: Path) -> None:
    python = interpreter(version)
    if python is None and (version in OPTIONAL or not shelves()):
        pytest.skip(f"no Python {version} on this machine")
    assert python, f"no Python {version} on the path or in pyenv: run uv python install {version}"
    shutil.copy(ROOT / "hub_hook" / "hubquota_hook.py", tmp_path)
    shutil.copy(SCRIPT, tmp_path)
    command = [str(alone(python, version)), "-W", "error::SyntaxWarning", "launch_alone.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=isolated(), capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, version), done.stderr[-3000:]
