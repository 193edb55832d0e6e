"""The demo comes up, says what to try, and leaves nothing running."""

import os
import re
import signal
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.testbed.hub import ROOT
from tests.testbed.local import LocalControlPlane
from tests.testbed.processes import Program

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


def runs(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.usefixtures("own_control_plane")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_it_says_what_to_open_and_ends_all_that_it_started(
    own_control_plane: LocalControlPlane, how: signal.Signals, tmp_path: Path
) -> None:
    demo = Program("demo", [sys.executable, "-m", "tests.testbed.demo"], tmp_path / "demo.log", folder=ROOT)
    demo.start()
    try:
        demo.ready(lambda: "Ctrl-C ends everything" in demo.last_words(10_000), 120)
        told = demo.last_words(10_000)
        url = re.search(r"http://127\.0\.0\.1:\d+", told)
        kubeconfig = re.search(r"export KUBECONFIG=(\S+)", told)
        assert url is not None
        assert kubeconfig is not None
        with urllib.request.urlopen(f"{url[0]}/hub/login", timeout=30) as page:
            assert page.status == 200
        listed = own_control_plane.kubectl(f"--kubeconfig={kubeconfig[1]}", "get", "-n", "demo", "qp")
        assert "0.02 GiB-hours of memory in 5m, each" in listed.stdout
        started = descendants(demo.pid)
        assert len(started) >= 6, "etcd, API server, controllers, hub, proxy, kubelet, operator"
        os.kill(demo.pid, how)
        deadline = time.monotonic() + 60
        while demo.running or any(runs(pid) for pid in started):
            assert time.monotonic() < deadline, demo.last_words()
            time.sleep(0.1)
        assert "nothing is left running" in demo.last_words()
        assert not Path(kubeconfig[1]).exists()
    finally:
        demo.kill()
