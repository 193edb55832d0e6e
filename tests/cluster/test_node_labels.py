"""Which kind of node a pod was on is kept with it, by labels that an admin names; without that no node is read."""

import asyncio
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubquota.domain.history import PodRecord
from hubquota.ledger import Ledger
from tests.cluster.test_caps import Watched
from tests.cluster.test_operator import ago, eventually
from tests.testbed.control_plane import NODE, ControlPlane
from tests.testbed.manifests import OPERATOR

pytestmark = pytest.mark.cluster
KEY, OTHER = f"a.example/{secrets.token_hex(4)}", f"a.example/{secrets.token_hex(4)}"


class Bench(Watched):
    """A hub whose pods' rows are looked at."""

    def record(self, name: str) -> PodRecord | None:
        async def read() -> PodRecord | None:
            async with await Ledger.open(self.database) as ledger:
                found = [pod async for pod in ledger.pods_since(self.namespace, 0) if pod.name == name]
                return found[0] if found else None

        return asyncio.run(read())

    def label(self, *labels: str) -> None:
        done = self.api.kubectl("label", "node", NODE, "--overwrite", *labels)
        assert done.returncode == 0, done.stderr

    def may_read_nodes(self) -> None:
        for command in (
            ("create", "clusterrole", self.namespace, "--verb=list,watch", "--resource=nodes"),
            (
                "create",
                "clusterrolebinding",
                self.namespace,
                f"--clusterrole={self.namespace}",
                f"--serviceaccount={self.namespace}:{OPERATOR}",
            ),
        ):
            assert self.api.kubectl(*command).returncode == 0


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Bench]:
    found = Bench(api, namespace, tmp_path)
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    api.kubectl("create", "-f", "-", stdin=json.dumps(node))  # it may be there
    found.label(f"{KEY}=first", f"{OTHER}=x")
    yield found
    found.label(f"{KEY}-", f"{OTHER}-")
    for kind in ("clusterrole", "clusterrolebinding"):
        api.kubectl("delete", kind, namespace, "--ignore-not-found")


def test_a_pod_keeps_the_labels_that_its_node_had_at_its_launch(bench: Bench) -> None:
    bench.may_read_nodes()
    operator = bench.started(node_labels=json.dumps([KEY, "a.example/none"]), resync_interval=5)
    try:
        bench.place("jupyter-alice", "alice", ago(60))
        eventually(lambda: bench.record("jupyter-alice") is not None, operator)
        kept = bench.record("jupyter-alice")
        assert kept is not None
        assert kept.node_labels == {KEY: "first"}
        bench.label(f"{KEY}=second")
        names = iter(range(1000))

        def follows() -> bool:
            """Whether pods that are placed now are on a node of the new kind."""
            name = f"jupyter-bob-{next(names)}"
            bench.place(name, "bob", ago(10))
            eventually(lambda: bench.record(name) is not None, operator)
            pod = bench.record(name)
            return pod is not None and pod.node_labels == {KEY: "second"}

        eventually(follows, operator)
        bench.end("jupyter-alice", ago(0))
        eventually(lambda: (p := bench.record("jupyter-alice")) is not None and p.finished is not None, operator)
        kept = bench.record("jupyter-alice")
        assert kept is not None
        assert kept.node_labels == {KEY: "first"}
    finally:
        operator.stop()


def labelled(pod: PodRecord | None) -> bool:
    return pod is not None and pod.node_labels == {KEY: "first"}


def test_without_the_right_to_read_nodes_pods_are_metered_and_get_their_labels_when_it_is_given(bench: Bench) -> None:
    operator = bench.started(node_labels=json.dumps([KEY]), resync_interval=5)
    try:
        bench.place("jupyter-alice", "alice", ago(60))
        eventually(lambda: bench.record("jupyter-alice") is not None, operator)
        assert operator.last_words(100_000).count("labels of nodes cannot be read") == 1
        kept = bench.record("jupyter-alice")
        assert kept is not None
        assert kept.node_labels is None
        bench.may_read_nodes()
        eventually(lambda: labelled(bench.record("jupyter-alice")), operator)
    finally:
        operator.stop()


def test_where_no_labels_are_named_no_node_is_read(bench: Bench) -> None:
    operator = bench.started()
    try:
        bench.place("jupyter-alice", "alice", ago(60))
        eventually(lambda: bench.record("jupyter-alice") is not None, operator)
        kept = bench.record("jupyter-alice")
        assert kept is not None
        assert kept.node_labels is None
        assert "labels of nodes" not in operator.last_words(100_000)  # it has no right to
    finally:
        operator.stop()
