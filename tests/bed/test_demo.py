"""The demo comes up, says what to try, and leaves nothing running."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.testbed.hub import ROOT
from tests.testbed.local import LocalControlPlane
from tests.testbed.patience import PATIENCE, until
from tests.testbed.processes import Program, runs

pytestmark = [pytest.mark.cluster, pytest.mark.hub]


def descendants(pid: int) -> set[int]:
    """The processes that came from one, as far as they still run."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(stat.parent.name)] = int(fields[1])
    found, rest = set[int](), {pid}
    while rest:
        rest = {child for child, parent in parents.items() if parent in rest}
        found |= rest
    return found


def printed(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture
def demo(own_control_plane: LocalControlPlane, tmp_path: Path) -> Iterator[Program]:
    """The demo, once it has said what to try."""
    del own_control_plane  # the demo has one like it
    # What it has to remove is then looked for in a place that has nothing else.
    env = {"TMPDIR": str(tmp_path)}
    program = Program("demo", [sys.executable, "-m", "tests.testbed.demo"], tmp_path / "demo.log", env, ROOT)
    program.start()
    try:
        program.ready(lambda: "Ctrl-C ends everything" in program.last_words(10_000))
        yield program
    finally:
        program.kill()


def ended(demo: Program, how: signal.Signals) -> set[int]:
    """End it; the processes that were its own, once none of them runs."""
    started = descendants(demo.pid)
    os.kill(demo.pid, how)
    deadline = time.monotonic() + PATIENCE
    while demo.running or any(runs(pid) for pid in started):
        assert time.monotonic() < deadline, demo.last_words()
        time.sleep(0.1)
    return started


def test_it_says_what_to_open_and_a_command_that_shows_the_policies(demo: Program) -> None:
    told = demo.last_words(10_000)
    url = re.search(r"http://127\.0\.0\.1:\d+", told)
    commands = re.search(r"^ +(export KUBECONFIG=.+)\n +(.+quotapolicies,userquotas)$", told, re.MULTILINE)
    assert url is not None
    assert commands is not None
    with urllib.request.urlopen(f"{url[0]}/hub/login", timeout=30) as page:
        assert page.status == 200
    pasted = ["sh", "-c", f"{commands[1]}\n{commands[2]}"]
    # A policy says what it is about once the operator has seen it.
    until(lambda: "0.02 GiB-hours of memory in 5m, each" in printed(pasted), demo.last_words)


@pytest.mark.parametrize(
    "how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=["Ctrl-C", "SIGTERM", "closed terminal"]
)
def test_it_ends_all_that_it_started_and_removes_its_files(demo: Program, how: signal.Signals, tmp_path: Path) -> None:
    assert list(tmp_path.glob("hubquota-demo-*"))
    started = ended(demo, how)
    assert len(started) >= 7, "etcd, API server, controllers, hub, proxy, kubelet, operator"
    assert "nothing is left running" in demo.last_words()
    assert not list(tmp_path.glob("hubquota-demo-*"))


def test_one_that_is_killed_leaves_nothing_running(demo: Program) -> None:
    assert len(ended(demo, signal.SIGKILL)) >= 7
