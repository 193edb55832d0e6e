"""The two processes that judge launches, as the benchmark sees them."""

import json
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from tests.hub.interpreters import alone, interpreter
from tests.testbed.hub import ROOT
from tests.testbed.processes import TIED

#: What jupyterhub-usage-quotas 0.2.1 needs; nothing older can read its source.
PYTHON: Final = "3.12"
_HERE: Final = Path(__file__).parent
#: Seconds for one round at most: the peer waits for its Prometheus without an end of its own.
_PATIENCE: Final = 590.0

Json = dict[str, Any]


class Launch(NamedTuple):
    """A user who presses Start."""

    user: str
    groups: tuple[str, ...]


class Round(NamedTuple):
    """What came of some launches: seconds and reasons of refusals in their order (empty: let through).

    ``pause``: seconds that the hub's loop did not turn, at the longest. ``cpu``: seconds of CPU that the process took.
    ``unanswered``: launches that went on, or were refused, because nobody could judge them. ``memory``: KiB of the
    process afterwards.
    """

    seconds: tuple[float, ...]
    reasons: tuple[str, ...]
    pause: float
    cpu: float
    unanswered: int
    memory: int


class Worker:
    """One hook in a process of its own; use it as a context manager."""

    def __init__(self, which: str, settings: Mapping[str, Json], kubeconfig: Path, log: Path) -> None:
        told = json.dumps({**settings, "path": str(ROOT / "hub_hook")})
        command = [*TIED, str(python()), str(_HERE / "worker.py"), which, told]
        self._which, self._log, self._launched = which, log, 0
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=out,
                text=True,
                cwd=log.parent,
                env={"PATH": "/usr/bin:/bin", "KUBECONFIG": str(kubeconfig)},
            )
        #: KiB that the process had before there was a hook.
        self.before: int = self._answer()["memory"]

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def play(self, launches: Sequence[Launch], at_once: int, fresh: bool = True) -> Round:
        """A round. ``fresh``: by a hook that remembers nothing of those before. Raises RuntimeError."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"launches": launches, "at_once": at_once, "fresh": fresh}) + "\n")
        self._process.stdin.flush()
        told = self._answer()
        told |= {name: tuple(told[name]) for name in ("seconds", "reasons")}
        return Round(**told)

    def _answer(self) -> Json:
        out = self._process.stdout
        assert out is not None
        line = out.readline() if select.select([out], [], [], _PATIENCE)[0] else ""
        if not line:
            words = self._log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self._which} ended, or gave no answer in {_PATIENCE:.0f} s:\n{words}")
        answer: Json = json.loads(line)
        return answer


def python() -> Path:
    """The Python of an environment that has both hooks' needs, installed once. Raises RuntimeError."""
    found = interpreter(PYTHON)
    if found is None:
        raise RuntimeError(f"there is no Python {PYTHON} for jupyterhub-usage-quotas: put a python{PYTHON} on the path")
    return alone(found, PYTHON, _HERE / "peer.txt")
