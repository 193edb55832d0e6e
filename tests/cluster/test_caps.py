"""A full hub, strange objects and poison pods: each is told, counted and survived by a running operator."""

import http.client
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.test_operator import POLICY, Bench, ago, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.patience import until
from tests.testbed.processes import Program, free_port

pytestmark = pytest.mark.cluster


class Watched(Bench):
    """A bench whose operators tell Prometheus."""

    def __init__(self, api: ControlPlane, namespace: str, folder: Path) -> None:
        super().__init__(api, namespace, folder)
        self.port = free_port()

    def started(self, **settings: object) -> Program:
        program = self.operator()
        told = {f"HUBQUOTA_{name.upper()}": str(value) for name, value in settings.items()}
        program.env = {**program.env, "HUBQUOTA_METRICS_PORT": str(self.port), **told}
        program.start()
        return program

    def metric(self, name: str, **labels: str) -> float:
        """A series of this hub; -1: it is not there, or nobody answers yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
        except (OSError, http.client.HTTPException):  # it has ended, or has no time
            return -1
        wanted = {"hub": self.namespace} | labels
        for line in lines:
            if line.startswith(f"hubquota_{name}{{"):
                found = dict(re.findall(r'(\w+)="([^"]*)"', line))
                if found == wanted:
                    return float(line.rpartition(" ")[2])
        return -1

    def user_quota(self, name: str, user: str) -> None:
        body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "metadata": {"name": name}}
        self.create(body | {"spec": {"user": user}})

    def names(self) -> set[str]:
        return {item["metadata"]["name"] for item in self.read("uq")["items"]}

    def condition(self, kind: str, name: str, of: str) -> dict[str, Any]:
        status = self.read(kind, name).get("status", {})
        return next((c for c in status.get("conditions", []) if c["type"] == of), {})

    def at_cap(self) -> str | None:
        lease = self.read("lease", "hubquota-heartbeat")
        told: str | None = lease.get("metadata", {}).get("annotations", {}).get("hubquota.dev/at-cap")
        return told


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Watched:
    return Watched(api, namespace, tmp_path)


@pytest.fixture
def operator(bench: Watched) -> Iterator[Program]:
    program = bench.started(resync_interval=5)
    yield program
    program.stop()


@contextmanager
def older_crd(api: ControlPlane, plural: str = "userquotas") -> Iterator[None]:
    """Objects of any form are let through meanwhile."""
    crd = ("crd", f"{plural}.hubquota.dev")
    strict = json.loads(api.kubectl("get", *crd, "-o", "json").stdout)["spec"]["versions"][0]["schema"]

    def put(schema: object) -> None:
        patch = [{"op": "replace", "path": "/spec/versions/0/schema", "value": schema}]
        done = api.kubectl("patch", *crd, "--type=json", "-p", json.dumps(patch))
        assert done.returncode == 0, done.stderr

    def takes_anything() -> bool:
        kind = {"userquotas": "UserQuota", "quotapolicies": "QuotaPolicy"}[plural]
        body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": kind, "metadata": {"name": "anything"}, "spec": 3}
        path = f"/apis/hubquota.dev/v1alpha1/namespaces/default/{plural}?dryRun=All"
        return api.calls.answer("POST", path, body).is_success

    put({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}})
    try:
        until(takes_anything)  # the API server hears of a schema as everybody does
        yield
    finally:
        put(strict)
        until(lambda: not takes_anything())


def touched(bench: Watched, pod: str) -> Callable[[], bool]:
    """Whether the operator has compared the pods again since this was made."""
    bench.do("annotate", "pod", pod, f"x={time.time()}", "--overwrite")
    before = time.time()
    return lambda: bench.metric("resync_timestamp_seconds") > before


def test_at_the_cap_none_is_made_and_lease_policies_and_metrics_say_so_until_there_is_room(bench: Watched) -> None:
    bench.create(POLICY)
    for name in ("yan", "zoe"):
        bench.user_quota(name, name)
    # The next beat is a minute away: the word of the cap does not wait for it.
    operator = bench.started(max_user_quotas=2, heartbeat_interval=60)
    try:
        bench.place("jupyter-alice", "alice", ago(600))
        eventually(lambda: bench.at_cap() == "2", operator)
        eventually(lambda: bool(bench.condition("qp", "weekly", "Enforced")), operator)
        enforced = bench.condition("qp", "weekly", "Enforced")
        assert (enforced["status"], enforced["reason"]) == ("False", "TooManyUserQuotas")
        assert "cap of 2 UserQuotas" in enforced["message"]
        assert "raise the operator's max_user_quotas" in enforced["message"]
        assert bench.condition("qp", "weekly", "Ready")["status"] == "True"
        eventually(lambda: bench.metric("users_left_out") == 1, operator)
        assert (bench.metric("user_quotas"), bench.metric("user_quotas_max")) == (2, 2)
        assert bench.names() == {"yan", "zoe"}

        bench.do("delete", "uq", "yan", "zoe")
        eventually(lambda: bench.used_seconds("alice") > 0, operator)
        eventually(lambda: bench.at_cap() is None, operator)
        eventually(lambda: bench.condition("qp", "weekly", "Enforced")["reason"] == "UpToDate", operator)
        eventually(lambda: (bench.metric("user_quotas"), bench.metric("users_left_out")) == (1, 0), operator)
    finally:
        operator.stop()


def test_of_many_users_at_once_only_so_many_get_one(bench: Watched) -> None:
    bench.create(POLICY)
    for number in range(12):
        bench.place(f"jupyter-{number}", f"user{number}", ago(600))
    operator = bench.started(max_user_quotas=5)
    try:
        # Those that are being made count before they are there.
        eventually(lambda: bench.metric("users_left_out") == 7 and len(bench.names()) >= 5, operator)
        assert len(bench.names()) == 5
    finally:
        operator.stop()


def test_a_name_that_is_not_its_user_s_is_ignored_and_kubectl_shows_why(bench: Watched, operator: Program) -> None:
    bench.create(POLICY)
    bench.place("jupyter-alice", "alice", ago(600))
    bench.user_quota("odd", "alice")
    eventually(lambda: bool(bench.condition("uq", "odd", "Ready")), operator)
    ready = bench.condition("uq", "odd", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "NameMismatch")
    assert "must be named alice" in ready["message"]
    row = next(line for line in bench.do("get", "uq").splitlines() if line.startswith("odd"))
    assert re.match(r"odd +alice +Ignored +ignored: the UserQuota of user alice must be named alice: delete", row)
    eventually(lambda: bench.used_seconds("alice") > 0, operator)


def test_one_that_stands_in_a_user_s_place_is_not_taken_for_theirs(bench: Watched, operator: Program) -> None:
    bench.create(POLICY)
    bench.user_quota("alice", "bob")
    eventually(lambda: bench.status("alice").get("decision") == "Ignored", operator)
    bench.place("jupyter-alice", "alice", ago(600))
    eventually(lambda: bench.metric("pods_metered") == 1, operator)
    eventually(touched(bench, "jupyter-alice"), operator)
    assert bench.status("alice")["decision"] == "Ignored"
    bench.do("delete", "uq", "alice")
    eventually(lambda: bench.used_seconds("alice") > 0, operator)


BROKEN: dict[str, dict[str, Any]] = {
    "b1": {},
    "b2": {"user": 3},
    "b3": {"user": "b3", "groups": ["a", "a"]},
    "b4": {"user": "b4", "groupsObservedAt": "2026-03-01T09:00:00Zt"},
    "b5": {"user": "b5", "groups": [f"g{i}" for i in range(300)]},
    "b6": {"user": "a\0b"},
    "b7": {"user": None},
}


def test_what_an_older_crd_let_through_gets_a_condition_and_stops_nobody(api: ControlPlane, bench: Watched) -> None:
    def takes(name: str) -> bool:
        body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "metadata": {"name": name}}
        told = json.dumps(body | {"spec": BROKEN[name]})
        return not api.kubectl("-n", bench.namespace, "create", "--validate=false", "-f", "-", stdin=told).returncode

    with older_crd(api):
        for name in BROKEN:
            until(partial(takes, name))
    operator = bench.started()
    try:
        for name in BROKEN.keys() - {"b2"}:
            eventually(lambda n=name: bool(bench.condition("uq", n, "Ready")), operator)  # type: ignore[misc]
            ready = bench.condition("uq", name, "Ready")
            assert (ready["status"], ready["reason"]) == ("False", "Invalid")
        # A user who is a number: the API server's own rules fail on it, so it takes no status either.
        eventually(
            lambda: "userquotas=b2 cannot be told what is wrong, only be deleted" in operator.last_words(100_000),
            operator,
        )
        bench.do("patch", "uq", "b5", "--type=merge", "-p", '{"spec": {"groups": ["g"]}}')
        eventually(lambda: bench.status("b5").get("decision") == "Allowed", operator)
        assert "conditions" not in bench.status("b5")
    finally:
        operator.stop()


def test_a_poison_pod_is_told_once_and_counted_while_its_neighbours_go_on(bench: Watched, operator: Program) -> None:
    bench.create(POLICY)
    bench.place("jupyter-mallory", "mallory", ago(600))
    eventually(lambda: bench.used_seconds("mallory") > 0, operator)
    bench.do("annotate", "pod", "jupyter-mallory", "hubquota.dev/groups={")
    eventually(lambda: bench.metric("poison_pods_total") == 1, operator)
    for _ in range(3):
        eventually(touched(bench, "jupyter-mallory"), operator)
    bench.place("jupyter-alice", "alice", ago(600))
    eventually(lambda: bench.used_seconds("alice") > 0, operator)
    assert operator.last_words(100_000).count("jupyter-mallory is not metered") == 1
    assert bench.metric("poison_pods_total") == 1


def test_a_running_operator_tells_what_it_does(bench: Watched, operator: Program) -> None:
    bench.create(POLICY)
    bench.create(POLICY | {"metadata": {"name": "another"}})
    begun = time.time()
    bench.place("jupyter-alice", "alice", ago(600))
    bench.place("jupyter-bob", "bob", ago(600))
    eventually(lambda: bench.metric("pods_metered") == 2, operator)
    bench.end("jupyter-bob", ago(60))
    eventually(lambda: bench.metric("pods_metered") == 1, operator)
    eventually(lambda: bench.metric("user_quotas") == 2, operator)
    eventually(lambda: bench.metric("statuses_written_total", kind="userquotas") >= 2, operator)
    eventually(lambda: bench.metric("statuses_written_total", kind="quotapolicies") >= 1, operator)
    assert (bench.metric("policies", applied="yes"), bench.metric("policies", applied="no")) == (2, 0)
    assert bench.metric("user_quotas_max") == 50_000
    eventually(lambda: bench.metric("heartbeat_timestamp_seconds") > begun, operator)
    eventually(lambda: bench.metric("resync_timestamp_seconds") > begun, operator)


def test_control_characters_in_names_reach_no_log_line_raw(bench: Watched, operator: Program) -> None:
    bench.create(POLICY)
    evil = "eve\x1b[31m\n2026-01-01 ERROR hubquota \u202e"
    bench.place("jupyter-eve", evil, ago(600))
    bench.user_quota("odd", evil)
    eventually(lambda: bool(bench.condition("uq", "odd", "Ready")), operator)
    eventually(lambda: bench.metric("statuses_written_total", kind="userquotas") >= 2, operator)
    assert bench.condition("uq", "odd", "Ready")["message"].isprintable()
    mine = next(i for i in bench.read("uq")["items"] if i["metadata"]["name"] != "odd")
    assert mine["spec"]["user"] == evil  # who it is stays exact
    assert mine["status"]["summary"].isprintable()
    for line in operator.last_words(100_000).splitlines():
        assert line.isprintable()
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+ ", line)


def test_whoever_has_usage_gets_a_user_quota_again_before_the_operator_is_believed(
    bench: Watched, operator: Program
) -> None:
    bench.create(POLICY)
    bench.place("jupyter-alice", "alice", ago(600))
    bench.end("jupyter-alice", ago(60))
    eventually(lambda: bench.used_seconds("alice") > 0, operator)
    eventually(lambda: bench.metric("ledger_waiting_pods") == 0, operator)  # the status came first
    bench.killed(operator)
    bench.do("delete", "uq", "alice")
    bench.do("delete", "pod", "jupyter-alice", "--grace-period=0", "--force")
    operator.start()
    eventually(lambda: bench.metric("heartbeat_timestamp_seconds") > 0, operator)
    assert bench.used_seconds("alice") > 0


def test_a_name_that_no_user_quota_can_hold_is_told_and_stops_nobody(bench: Watched, operator: Program) -> None:
    bench.create(POLICY)
    bench.place("jupyter-long", "x" * 256, ago(600))
    eventually(
        lambda: "is not metered: a user's name has at most 255 characters, not 256" in operator.last_words(100_000),
        operator,
    )
    bench.place("jupyter-alice", "alice", ago(600))
    eventually(lambda: bench.used_seconds("alice") > 0, operator)
    assert bench.names() == {"alice"}
