"""Other Pythons than the tests' own, with JupyterHub and KubeSpawner and nothing else."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.testbed.binaries import cache, locked

PINS: Final = Path(__file__).with_name("alone.txt")
VERSIONS: Final = ("3.10", "3.11", "3.12", "3.13", "3.14")
#: Those that few machines have yet.
OPTIONAL: Final = ("3.14",)


def interpreter(version: str) -> Path | None:
    """A Python of this version, from the path or from pyenv; None: there is none."""
    found = [str(max(shelved)) for shelf in shelves() if (shelved := list(shelf.glob(f"{version}.*/bin/python")))]
    on_path = shutil.which(f"python{version}")
    for candidate in (*found, *([on_path] if on_path else [])):
        asked = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
        if done.stdout.strip() == version:
            return Path(candidate)
    return None


def shelves() -> list[Path]:
    """Where pyenv keeps Pythons, by its own rules, and where the running one is from; none: there is no pyenv."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    known = (root / "versions", Path(sys.base_prefix).parent)
    return [shelf for shelf in known if shelf.name == "versions" and shelf.is_dir()]


def alone(python: Path, version: str, pins: Path = PINS) -> Path:
    """The Python of an environment of what a hub has, installed once. Raises RuntimeError with pip's last words."""
    key = hashlib.sha256(pins.read_bytes() + str(python).encode()).hexdigest()[:16]
    home = cache() / f"hook-{version}-{key}"
    home.mkdir(parents=True, exist_ok=True)
    complete = home / ".complete"  # written last: an interrupted installation begins anew
    with locked(home / ".lock"):
        if not complete.exists():
            _run([str(python), "-m", "venv", str(home)])
            _run([str(home / "bin" / "pip"), "install", "-q", "--no-deps", "-r", str(pins)])
            complete.touch()
    return home / "bin" / "python"


def isolated() -> dict[str, str]:
    """The environment of a Python that is to find nothing of the tests' own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
