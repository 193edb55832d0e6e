"""What benchmarks of a running operator share: databases, policies as objects, and what a process has taken."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Final

from tests.bench.filling import NAMESPACE
from tests.testbed.control_plane import ControlPlane
from tests.testbed.hub import ROOT
from tests.testbed.postgres import Postgres
from tests.testbed.processes import Program
from tests.testbed.providers import control_plane
from tests.testbed.rest import Json

#: As an admin would have it: what was written is there after a power cut.
_SAFE: Final = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "128MB"}


@dataclass(frozen=True)
class Database:
    """An empty one. ``server`` None: it is a file."""

    url: str
    server: Postgres | None = None


@contextmanager
def placed(kind: str, folder: Path) -> Iterator[Database]:
    """A database of a kind, ``sqlite`` or ``postgresql``, for as long as this lasts."""
    if kind == "sqlite":
        yield Database(f"sqlite:///{folder}/ledger.db")
        return
    server = Postgres(folder / "postgres", _SAFE)
    try:
        server.start()
        yield Database(server.database(), server)
    finally:
        server.remove()


@contextmanager
def cluster(folder: Path) -> Iterator[ControlPlane]:
    """A real API server with our CRDs and the hub's namespace, for as long as this lasts."""
    api = control_plane(folder / "control-plane")
    try:
        api.start()
        api.apply(ROOT / "crds", NAMESPACE)
        yield api
    finally:
        api.stop()


def made(policy: Json) -> Json:
    """A policy of tests/bench/policies.py as a QuotaPolicy."""
    spec = {key: value for key, value in policy.items() if key != "name"}
    meta = {"name": policy["name"]}
    return {"apiVersion": "hubquota.dev/v1alpha1", "kind": "QuotaPolicy", "metadata": meta, "spec": spec}


def memory(program: Program) -> int:
    """The most memory that a program ever had, in MiB."""
    status = (Path("/proc") / str(program.pid) / "status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) // 1024


def cpu(program: Program) -> float:
    """Seconds of CPU that a program has taken."""
    fields = (Path("/proc") / str(program.pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def busy() -> tuple[int, int]:
    """How long all cores have been busy, and how long there were any, in hundredths of a second."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def at(delays: Iterable[float], percent: int) -> float:
    """A percentile."""
    return quantiles(delays, n=100)[percent - 1]
