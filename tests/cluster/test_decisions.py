"""What a hook decided reaches ledger, statuses and metrics of a running operator, by Events on a real API server."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubquota.domain.history import DecisionRecord
from hubquota.ledger import Ledger
from tests.cluster.telling import event, quota, told
from tests.cluster.test_caps import Watched
from tests.cluster.test_operator import POLICY, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster
OBSERVE = POLICY | {"metadata": {"name": "trial"}, "spec": POLICY["spec"] | {"enforcement": "Observe"}}


class Bench(Watched):
    """A hub with two policies, whose hook tells Events."""

    def begin(self) -> None:
        made = [self.create(body) for body in (POLICY, OBSERVE)]
        self.uids = {one["metadata"]["name"]: one["metadata"]["uid"] for one in made}
        self.user_quota("alice", "alice")

    def quota(self, name: str = "weekly") -> dict[str, Any]:
        return quota(name, self.uids[name])

    def tell(self, said: object, user: str = "alice", **more: object) -> None:
        self.create(event(self.namespace, said, user, **more))

    def policy(self, name: str = "weekly") -> dict[str, Any]:
        told: dict[str, Any] = self.read("qp", name).get("status", {})
        return told

    def kept(self, user: str = "alice") -> list[DecisionRecord]:
        async def read() -> list[DecisionRecord]:
            async with await Ledger.open(self.database) as ledger:
                return await ledger.decisions_of(self.namespace, user, 0, 2**62)

        return asyncio.run(read())


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Bench:
    return Bench(api, namespace, tmp_path)


@pytest.fixture
def operator(bench: Bench) -> Iterator[Program]:
    program = bench.started(resync_interval=5)
    bench.begin()
    yield program
    program.stop()


def test_a_refusal_is_kept_counted_and_shown_to_its_user(bench: Bench, operator: Program) -> None:
    said = told("alice", "refused", bench.quota(), server="gpu")
    bench.tell(said)
    eventually(lambda: bench.policy().get("refused") == 1, operator)
    eventually(lambda: "lastRefusal" in bench.status("alice"), operator)
    shown = bench.status("alice")["lastRefusal"]
    assert shown == {"at": said["at"], "server": "gpu", "policies": ["weekly"], "reason": said["reason"]}
    [kept] = bench.kept()
    assert (kept.id, kept.quotas[0].used, kept.request) == (said["id"], "41.5", {"memory": 1 << 30})
    assert bench.metric("decisions_total", kind="Refused") == 1


def test_what_observe_would_have_refused_is_counted_and_shown_to_no_user(bench: Bench, operator: Program) -> None:
    bench.tell(told("alice", "observed", bench.quota("trial")))
    eventually(lambda: bench.policy("trial").get("wouldHaveRefused") == 1, operator)
    assert bench.policy("trial")["refused"] == bench.policy()["refused"] == 0
    assert "lastRefusal" not in bench.status("alice")


def test_each_is_counted_once_also_after_a_kill_and_those_of_meanwhile_are_taken(
    bench: Bench, operator: Program
) -> None:
    first = told("alice", "refused", bench.quota())
    bench.tell(first)
    bench.tell(first)  # a second Event of one decision
    eventually(lambda: bench.policy().get("refused") == 1, operator)
    eventually(lambda: "lastRefusal" in bench.status("alice"), operator)
    shown = bench.status("alice")["lastRefusal"]
    bench.killed(operator)
    bench.tell(told("bob", "warned", bench.quota()), "bob")
    operator.start()
    eventually(lambda: len(bench.kept("bob")) == 1, operator)
    assert len(bench.kept()) == 1
    assert bench.policy()["refused"] == 1
    assert bench.status("alice")["lastRefusal"] == shown


def test_others_events_and_malformed_ones_are_passed_over_and_the_next_is_taken(
    bench: Bench, operator: Program
) -> None:
    bench.tell(told(), reportingComponent="kubelet", source={"component": "kubelet"})
    pod = {"apiVersion": "v1", "kind": "Pod", "name": "alice", "namespace": bench.namespace}
    bench.tell(told(), involvedObject=pod)
    bench.tell("{")
    bench.tell(told("bob"))  # of bob, but about alice's UserQuota
    bench.tell(told("alice", "failed-open", id="the-last-one"))
    eventually(lambda: [d.id for d in bench.kept()] == ["the-last-one"], operator)
    assert bench.metric("decisions_malformed_total") == 2
    assert bench.kept("bob") == []


def test_the_hub_s_own_rights_suffice_to_tell(bench: Bench, operator: Program) -> None:
    hub = f"--as=system:serviceaccount:{bench.namespace}:hub"
    body = json.dumps(event(bench.namespace, told("alice")))
    done = bench.api.kubectl(hub, "create", "-f", "-", stdin=body)
    assert done.returncode == 0, done.stderr
    eventually(lambda: len(bench.kept()) == 1, operator)


def test_a_user_without_a_user_quota_is_told_of_too(bench: Bench, operator: Program) -> None:
    bench.tell(told("Émile@uni.example", "failed-open"), "Émile@uni.example")
    eventually(lambda: len(bench.kept("Émile@uni.example")) == 1, operator)


def test_without_the_right_to_read_events_all_else_goes_on(bench: Bench, operator: Program) -> None:
    name = ("role", "hubquota-operator")
    rules = json.loads(bench.do("get", *name, "-o", "json"))["rules"]
    without = [rule for rule in rules if "events" not in rule["resources"]]
    bench.do("patch", *name, "--type=merge", "-p", json.dumps({"rules": without}))
    bench.killed(operator)
    operator.start()
    eventually(lambda: "decisions are not followed" in operator.last_words(100_000), operator)
    bench.place("jupyter-alice", "alice", "2026-01-01T00:00:00Z")
    eventually(lambda: len(bench.status("alice").get("running", ())) == 1, operator)
    bench.tell(told("alice"))
    bench.do("patch", *name, "--type=merge", "-p", json.dumps({"rules": rules}))
    eventually(lambda: len(bench.kept()) == 1, operator)
    assert operator.last_words(100_000).count("decisions are not followed") == 1
