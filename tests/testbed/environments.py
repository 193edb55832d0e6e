"""Python environments beside the tests' own, installed once from PyPI and kept in the cache."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final, TextIO

from tests.testbed.binaries import cache, locked

_HUBS: Final = Path(__file__).parent / "hubs"
#: The majors of JupyterHub that the hook serves, the tests' own environment's first.
HUBS: Final = ("6", "5")


def hub_python(major: str, report: TextIO = sys.stderr) -> Path:
    """The Python of a JupyterHub: the tests' own environment has 6, the others come from their pins in hubs/.

    Raises RuntimeError with pip's last words where the pins cannot be installed.
    """
    return Path(sys.executable) if major == HUBS[0] else pinned(_HUBS / f"{major}.txt", report)


def pinned(pins: Path, report: TextIO = sys.stderr) -> Path:
    """The Python of an environment that has exactly what ``pins`` lists; other pins or another Python make another."""
    key = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:16]
    home = cache() / f"hub-{pins.stem}-{key}"
    home.mkdir(parents=True, exist_ok=True)
    complete = home / ".complete"  # written last: an interrupted installation begins anew
    with locked(home / ".lock"):
        if not complete.exists():
            print(f"installing JupyterHub {pins.stem}, once ...", file=report, flush=True)
            _install(home, pins)
            complete.touch()
    return home / "bin" / "python"


def _install(home: Path, pins: Path) -> None:
    venv.create(home, with_pip=True)
    command = [str(home / "bin" / "pip"), "install", "-q", "--no-deps", "-r", str(pins)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{pins} cannot be installed:\n{done.stderr[-2000:]}")
