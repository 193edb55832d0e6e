"""Programs that are started again whenever they end, until they are told to end."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.testbed.hub import ROOT
from tests.testbed.patience import until
from tests.testbed.processes import Program, free_port


@pytest.fixture
def program(tmp_path: Path) -> Program:
    command = ["sh", "-c", "trap 'echo ends; exit 3' TERM; echo $$; while :; do sleep 0.05; done"]
    return Program("looping", command, tmp_path / "log", supervised=True)


def pids(program: Program) -> list[int]:
    return [int(line) for line in program.last_words().splitlines() if line.isdigit()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_is_started_again_when_it_ends_by_itself(program: Program) -> None:
    program.start()
    try:
        until(lambda: len(pids(program)) == 1)
        os.kill(pids(program)[0], signal.SIGKILL)
        until(lambda: len(pids(program)) == 2)
        assert "looping ended with 137, started again" in program.last_words()
    finally:
        program.kill()


@pytest.mark.parametrize(("end", "orderly"), [("kill", False), ("stop", True)])
def test_it_ends_with_its_supervisor_when_we_end_it(program: Program, end: str, orderly: bool) -> None:
    program.start()
    until(lambda: len(pids(program)) == 1)
    getattr(program, end)()
    assert not program.running
    until(lambda: not alive(pids(program)[0]))
    assert len(pids(program)) == 1
    assert program.last_words().endswith("ends\n") == orderly


PORTS = """
import sys
from tests.testbed.processes import free_port
print(*(free_port() for _ in range(50)), flush=True)
sys.stdin.read()
"""


def test_a_port_is_nobody_else_s_until_who_has_it_ends() -> None:
    """Of those that ask at the same time, too."""
    both: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    askers = [subprocess.Popen([sys.executable, "-c", PORTS], **both) for _ in range(2)]
    given = [free_port() for _ in range(50)]
    for asker in askers:
        assert asker.stdout is not None
        given += map(int, asker.stdout.readline().split())
    for asker in askers:
        asker.communicate()
    assert len(set(given)) == len(given) == 150
