"""Hubs by label: a namespace is served while it carries the label and may be read, and no other waits for it."""

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.test_caps import Watched
from tests.cluster.test_operator import POLICY, Bench, ago, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.manifests import MANIFESTS, OPERATOR, give_rights
from tests.testbed.patience import PATIENCE
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster


class Labelled(Watched):
    """An operator in a namespace of its own, that serves whatever carries a label of this test's."""

    def __init__(self, api: ControlPlane, namespace: str, folder: Path) -> None:
        super().__init__(api, namespace, folder)
        self.label = f"hubquota.dev/{namespace}"
        self._cluster_wide()

    def _cluster_wide(self) -> None:
        give_rights(self.api, self.namespace)
        file = MANIFESTS / "overlays/hubs-by-label/operator/namespaces-role.yaml"
        bodies: list[dict[str, Any]] = list(yaml.safe_load_all(file.read_text()))
        for body in bodies:
            body["metadata"]["name"] = self.namespace
        bodies[1]["subjects"][0]["namespace"] = bodies[1]["roleRef"]["name"] = self.namespace
        for body in bodies:
            done = self.api.kubectl("create", "-f", "-", stdin=json.dumps(body))
            assert done.returncode == 0, done.stderr

    def hub(self, *, readable: bool = True) -> Bench:
        """A namespace with the label, a policy, and alice's server."""
        name = f"{self.namespace}-{secrets.token_hex(3)}"
        self.api.make_namespace(name)
        found = Bench(self.api, name, self.folder, self.database)
        found.create(POLICY)
        found.place("jupyter-alice", "alice", ago(900))
        if readable:
            self.give(name)
        self.mark(name, "true")
        return found

    def give(self, name: str) -> None:
        """The operator's Role in a hub, as the overlay's folder of a hub gives it."""
        give_rights(self.api, name)
        subject = [{"kind": "ServiceAccount", "name": OPERATOR, "namespace": self.namespace}]
        patch = json.dumps({"subjects": subject})
        done = self.api.kubectl("-n", name, "patch", "rolebinding", OPERATOR, "--type=merge", "-p", patch)
        assert done.returncode == 0, done.stderr

    def mark(self, name: str, value: str) -> None:
        done = self.api.kubectl("label", "--overwrite", "namespace", name, f"{self.label}={value}")
        assert done.returncode == 0, done.stderr

    def begun(self) -> Program:
        return self.started(
            hub_selector=f"{self.label}=true", hub_namespaces="[]", hub_selector_interval=2, heartbeat_interval=1
        )


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Labelled]:
    found = Labelled(api, namespace, tmp_path)
    yield found
    for kind in ("clusterrolebinding", "clusterrole"):
        api.kubectl("delete", kind, namespace)


def test_hubs_come_and_go_with_their_label(bench: Labelled) -> None:
    program = bench.begun()
    try:
        eventually(lambda: "waits for a namespace with the label" in program.last_words(), program)
        first = bench.hub()
        eventually(lambda: first.used_seconds("alice") > 0, program)
        second, forbidden = bench.hub(), bench.hub(readable=False)
        eventually(lambda: second.used_seconds("alice") > 0, program)
        # One that may not be read makes nobody wait, and is served once it may be.
        eventually(lambda: f"hub={forbidden.namespace} is left out" in program.last_words(100_000), program)
        bench.give(forbidden.namespace)
        eventually(lambda: forbidden.used_seconds("alice") > 0, program)
        bench.mark(first.namespace, "false")
        words = f"serves the hubs {', '.join(sorted((second.namespace, forbidden.namespace)))}\n"
        eventually(lambda: words in program.last_words(100_000), program)
        first.place("jupyter-bob", "bob", ago(60))
        second.place("jupyter-bob", "bob", ago(60))
        eventually(lambda: second.used_seconds("bob") > 0, program)
        assert first.status("bob") == {}
        assert program.last_words(100_000).count("told to stop") == 0
        bench.namespace = first.namespace  # whose series have ended
        assert bench.metric("heartbeat_timestamp_seconds") == -1
        bench.namespace = second.namespace
        assert bench.metric("heartbeat_timestamp_seconds") >= 0  # it is asked, and tells of the other
    finally:
        program.stop()
    assert "told to stop" in program.last_words()


def test_a_selector_that_is_none_is_told_and_ends_it(bench: Labelled) -> None:
    program = bench.started(hub_selector="a in (", hub_namespaces="[]")
    deadline = time.monotonic() + PATIENCE
    while program.running:
        assert time.monotonic() < deadline, program.last_words()
        time.sleep(0.1)
    assert "unable to parse requirement" in program.last_words()
