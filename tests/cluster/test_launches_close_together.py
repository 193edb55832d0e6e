"""What is counted is what is held: at a relaunch right after a stop, of named servers, and of pods on their way."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubquota.domain.pods import micros
from tests.cluster.test_caps import Watched
from tests.cluster.test_operator import POLICY, ago, eventually
from tests.hub.real_api import account_of_hub, asking, launched
from tests.testbed.control_plane import NODE, ControlPlane
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster


class Bench(Watched):
    """A hub in which alice may have one server at once, and everybody else two."""

    program: Program
    account: Path

    def begin(self) -> None:
        self.program = self.started(resync_interval=5)
        self.account = account_of_hub(self.api, self.namespace)
        self.create(POLICY)
        for name, scope, most in (("one", {"users": ["alice"]}, 1), ("two", {"users": ["bob", "carol", "dave"]}, 2)):
            spec = {"scope": scope, "resource": "servers", "limit": {"value": most, "unit": "servers"}}
            self.create(POLICY | {"metadata": {"name": name}, "spec": spec})
        eventually(lambda: bool(self.read("lease", "hubquota-heartbeat")), self.program)

    def server(self, user: str, name: str = "", placed: str | None = None, phase: str = "Running") -> None:
        """A server's pod; None: it has no node yet."""
        marks = {"hub.jupyter.org/username": user} | ({"hub.jupyter.org/servername": name} if name else {})
        pod = f"jupyter-{user}--{name}".rstrip("-")
        meta = {"name": pod, "annotations": marks}
        container = {"name": "notebook", "image": "i", "resources": {"requests": {"memory": "1Gi"}}}
        spec = {"schedulerName": NODE, "containers": [container]}
        self.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        if placed is not None:
            known = {"type": "PodScheduled", "status": "True", "lastTransitionTime": placed}
            self.objects.report(pod, {"phase": phase, "conditions": [known]})

    def quota(self, user: str, resource: str) -> dict[str, Any]:
        """What the status tells of one; nothing where it tells none yet."""
        return next((q for q in self.status(user).get("quotas", []) if q["resource"] == resource), {})

    def used_of_memory(self, user: str) -> float:
        """GiB-seconds, as of the status."""
        return float(self.quota(user, "memory")["used"]) * 3600

    def servers(self, user: str) -> str | None:
        """How many are counted at once."""
        used: str | None = self.quota(user, "servers").get("used")
        return used

    def launch(self, user: str, *servers: str) -> list[str]:
        """Launch these at once; what the user reads of each that is refused."""

        async def go() -> list[str]:
            async with asking(self.account):
                return await asyncio.gather(*(launched(self.namespace, user, name) for name in servers))

        return asyncio.run(go())


@pytest.fixture(scope="module")
def bench(api: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One for all: each test has a user of its own."""
    with api.namespace() as namespace:
        made = Bench(api, namespace, tmp_path_factory.mktemp("close"))
        try:
            made.begin()
            yield made
        finally:
            made.program.kill()  # a stop in order takes seconds


def seen(bench: Bench, user: str, servers: str, running: set[str]) -> None:
    """Wait until the status counts so many servers, and tells that these run."""

    def told() -> bool:
        return bench.servers(user) == servers and {r["server"] for r in bench.status(user)["running"]} == running

    eventually(told, bench.program)


def test_a_relaunch_right_after_a_stop_is_not_counted_twice_and_not_refused_for_the_server_it_replaces(
    bench: Bench,
) -> None:
    bench.server("alice", placed=ago(600))
    seen(bench, "alice", "1", {""})
    # The hub may relaunch it while its earlier pod is still there; but not have a second server beside it.
    again, second = bench.launch("alice", "", "second")
    assert again == ""
    assert "Your quota is used up: 1 of 1 servers at once" in second
    first = bench.status("alice")["running"][0]["since"]
    bench.do("delete", "pod", "jupyter-alice", "--grace-period=0", "--force")
    bench.server("alice", placed=ago(0))
    eventually(
        lambda: [r["since"] for r in bench.status("alice").get("running", [])] not in ([], [first]), bench.program
    )
    assert len(bench.status("alice")["running"]) == 1
    assert (bench.servers("alice"), bench.quota("alice", "memory")["perHour"]) == ("1", "1")
    # From the first placement on there was never more than one.
    told = bench.status("alice")
    [memory] = [q for q in told["quotas"] if q["resource"] == "memory"]
    ever = (micros(told["asOf"]) - micros(first)) / 1_000_000
    # A placement is told in whole seconds, cut.
    assert ever - 60 < float(memory["used"]) * 3600 <= ever + 1


def test_named_servers_count_each_and_launches_at_once_are_judged_alike(bench: Bench) -> None:
    bench.server("bob", placed=ago(600))
    seen(bench, "bob", "1", {""})
    assert bench.launch("bob", "red", "green") == ["", ""]  # of neither is there a pod yet
    bench.server("bob", "red", placed=ago(300))
    bench.server("bob", "green", placed=ago(300))
    seen(bench, "bob", "3", {"", "red", "green"})
    assert bench.quota("bob", "memory")["perHour"] == "3"
    assert bench.used_of_memory("bob") >= 600 + 300 + 300
    [told] = bench.launch("bob", "blue")
    assert "Your quota is used up: 3 of 2 servers at once" in told


def test_a_pod_that_has_a_node_counts_while_its_image_is_pulled_and_one_that_has_none_counts_as_a_server_alone(
    bench: Bench,
) -> None:
    bench.server("carol", placed=ago(600), phase="Pending")
    bench.server("carol", "waits")
    seen(bench, "carol", "2", {""})
    assert bench.status("carol")["pending"] == ["waits"]
    assert bench.quota("carol", "memory")["perHour"] == "1"
    assert bench.used_of_memory("carol") >= 600
    again, third = bench.launch("carol", "waits", "third")
    assert again == ""
    assert "2 of 2 servers at once" in third
