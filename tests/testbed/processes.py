"""Programs that end with those who started them, and whose last words are kept."""

import contextlib
import ctypes
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from tests.testbed.patience import PATIENCE

_PORTS: Final = (16_384, 32_768)
_LOCKS: Final = Path(tempfile.gettempdir()) / f"hubquota-ports-{os.getuid()}"
_held: list[IO[str]] = []
_PR_SET_PDEATHSIG: Final = 1
#: Before a command: it then dies with whoever started it, also where that is killed and is no program of ours.
TIED: Final = ("setpriv", "--pdeathsig", "KILL")
#: A shell that starts a program again whenever it ends, as a kubelet does with a container.
_SUPERVISOR: Final = """
trap 'exit 0' TERM
while :; do
    setpriv --pdeathsig KILL "$@"
    echo "$0 ended with $?, started again"
    sleep 0.5
done"""


class NotReady(Exception):
    """Something did not come up before its deadline; the message holds its last words."""


@dataclass
class Program:
    """One program: started, ended and started again with the same arguments. Output goes to ``log``.

    ``supervised``: it is also started again when it ends by itself, until it is ended from here.
    """

    name: str
    command: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    supervised: bool = False
    _process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended; of one that is supervised, whether it is to run."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id. Raises RuntimeError if it was never started."""
        if self._process is None:
            raise RuntimeError(f"{self.name} was not started")
        return self._process.pid

    def start(self) -> None:
        """Start it; it is killed by the kernel should this process die."""
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                ["sh", "-c", _SUPERVISOR, self.name, *self.command] if self.supervised else list(self.command),
                stdout=out,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.env},
                cwd=self.folder,
                preexec_fn=_die_with_parent,
                start_new_session=True,  # a Ctrl-C at the terminal is for us: we end them in order
            )

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL, nothing flushed."""
        self._end(signal.SIGKILL, 10)

    def stop(self, patience: float = 10) -> None:
        """Ask it to end, and kill it after ``patience`` seconds."""
        try:
            self._end(signal.SIGTERM, patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def last_words(self, characters: int = 2000) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def ready(self, check: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Wait until ``check`` holds. Raises NotReady when it ends before or takes longer."""
        deadline = time.monotonic() + seconds
        while not check():
            if not self.running:
                raise NotReady(f"{self.name} ended:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name} was not ready after {seconds:.0f} s:\n{self.last_words()}")
            time.sleep(0.05)

    def _end(self, how: signal.Signals, patience: float) -> None:
        if self._process is None or not self.running:
            return
        with contextlib.suppress(ProcessLookupError):
            if self.supervised:
                os.killpg(self._process.pid, how)  # both at once; start_new_session made them a group
            else:
                self._process.send_signal(how)
        self._process.wait(patience)


def free_port() -> int:
    """A port of the loopback interface for this process and those that it starts, until it ends.

    Held by a lock: one that the kernel gives is free for the next who asks, until somebody listens on it. Below those
    that the kernel gives to connections.
    """
    _LOCKS.mkdir(exist_ok=True)
    while True:
        port = random.SystemRandom().randrange(*_PORTS)
        lock = (_LOCKS / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        return port


def runs(pid: int) -> bool:
    """Whether a process, whosever, is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
