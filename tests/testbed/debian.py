"""Programs of Debian's packages, unpacked into the cache: nothing is installed, and no service starts.

Without root, and also where apt has no lists of packages yet.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, TextIO

from tests.testbed.binaries import cache, locked

_LIST: Final = "Dir::State::Lists={}"


def unpacked(package: str, report: TextIO = sys.stderr) -> Path:
    """The folder that a package's files were unpacked into, as if it were the root. Raises RuntimeError."""
    home = cache() / f"debian-{package}"
    home.mkdir(parents=True, exist_ok=True)
    complete = home / ".complete"  # written last: an interrupted download begins anew
    with locked(home / ".lock"):
        if not complete.exists():
            print(f"unpacking Debian's {package}, once ...", file=report, flush=True)
            _download(package, home)
            [archive] = home.glob(f"{package}_*.deb")
            _run("dpkg-deb", "-x", str(archive), str(home / "root"), folder=home)
            archive.unlink()
            complete.touch()
    return home / "root"


def _download(package: str, home: Path) -> None:
    for left_over in home.glob("*.deb"):
        left_over.unlink()
    try:
        _run("apt-get", "download", package, folder=home)
    except RuntimeError:
        lists = home / "lists" / "partial"
        lists.mkdir(parents=True, exist_ok=True)
        own = ("-o", _LIST.format(lists.parent))
        _run("apt-get", *own, "update", folder=home)
        _run("apt-get", *own, "download", package, folder=home)
        shutil.rmtree(lists.parent)


def _run(*command: str, folder: Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=folder)
    except FileNotFoundError as fault:
        raise RuntimeError(
            f"there is no {command[0]}: this needs Debian or Ubuntu, or the programs on the path"
        ) from fault
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-2000:]}")
