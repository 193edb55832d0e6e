"""Launches where the caps are reached, or a UserQuota is not what it should be, on a real hub."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.test_caps import older_crd
from tests.hub.conftest import READ_FIRST
from tests.testbed.control_plane import ControlPlane
from tests.testbed.patience import until
from tests.testbed.stage import Stage, policy

pytestmark = [pytest.mark.cluster, pytest.mark.hub]
MANY = "".join(f'c.JupyterHub.load_groups["g{n:03}"] = {{"users": ["alice"]}}\n' for n in range(300)) + (
    'c.JupyterHub.load_groups["zz-staff"] = {"users": ["alice"]}\n'
    "c.HubQuota.timeout = c.HubQuota.first_launch_timeout = 60  # a crowded machine is slow, not wrong\n"
)
WATCHED = (
    READ_FIRST
    + """
async def begin(spawner, pod):
    await read_first(spawner, "reader")
    return pod
c.JupyterHub.spawner_class = Read
c.KubeSpawner.modify_pod_hook = begin
"""
)


def user_quota(name: str, user: str) -> dict[str, Any]:
    body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "metadata": {"name": name}}
    return body | {"spec": {"user": user}}


def memory(**scope: object) -> dict[str, Any]:
    limit = {"value": 40, "unit": "GiB-hours"}
    return policy("memory", scope=scope, resource="memory", limit=limit, window={"rolling": "7d"})


def eventually(check: Callable[[], bool], stage: Stage) -> None:
    until(check, lambda: stage.operator.last_words() + stage.hub.program.last_words())


@pytest.fixture
def stage(api: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Stage]:
    made = Stage(api, namespace, tmp_path / "stage", MANY + WATCHED)
    made.operator.env = {**made.operator.env, "HUBQUOTA_MAX_USER_QUOTAS": "2"}
    try:
        yield made
    finally:
        made.stop()


def log(stage: Stage) -> str:
    return stage.hub.program.last_words(100_000)


def test_at_the_cap_a_new_user_s_launch_goes_on_without_one_and_the_log_says_what_to_do(stage: Stage) -> None:
    stage.apply(memory(everyone=True), user_quota("yan", "yan"), user_quota("zoe", "zoe"))
    stage.start()
    assert stage.hub.launch("bob")[-1].get("ready")
    assert stage.get("uq", "bob") == {}
    lines = [line for line in log(stage).splitlines() if "hubquota: the launch of 'bob'" in line]
    assert len(lines) == 1
    assert "goes on without an answer: the hub is at its cap of 2 UserQuotas" in lines[0]
    assert "raise the operator's max_user_quotas" in lines[0]


def test_of_three_hundred_groups_the_one_that_a_policy_names_is_told_and_decides(stage: Stage) -> None:
    stage.apply(memory(groups=["zz-staff"]))
    stage.start()
    assert stage.hub.launch("alice")[-1].get("ready")
    eventually(lambda: bool(stage.get("uq", "alice").get("status", {}).get("quotas")), stage)
    told = stage.get("uq", "alice")["spec"]["groups"]
    assert (len(told), told[0], told[-1]) == (256, "g000", "zz-staff")
    marks = stage.get("pod", "jupyter-alice")["metadata"]["annotations"]
    assert json.loads(marks["hubquota.dev/groups"]) == told
    assert "user='alice' is in 302 groups, 46 are left out" in log(stage)


def test_a_user_quota_of_somebody_else_is_not_believed_and_one_that_is_ignored_is_told(stage: Stage) -> None:
    stage.apply(memory(everyone=True), user_quota("bob", "carol"))
    stage.start()
    eventually(lambda: stage.get("uq", "bob").get("status", {}).get("decision") == "Ignored", stage)
    assert stage.hub.launch("bob")[-1].get("ready")
    assert "goes on without an answer: UserQuota bob is not of 'bob', though its name says so: delete it" in log(stage)


def test_a_launch_mends_a_user_quota_that_an_older_crd_let_through(stage: Stage) -> None:
    stage.apply(memory(everyone=True))
    made = user_quota("reader", "reader")
    made["spec"] |= {"groups": ["students"], "groupsObservedAt": "2026-03-01T09:00:00Zt"}
    with older_crd(stage.api):
        eventually(
            lambda: (
                not stage.api.kubectl("-n", stage.namespace, "create", "-f", "-", stdin=json.dumps(made)).returncode
            ),
            stage,
        )
    stage.start()
    eventually(lambda: stage.get("uq", "reader").get("status", {}).get("decision") == "Ignored", stage)
    events = stage.hub.launch("reader")
    assert events[-1].get("ready")
    assert any("GiB-hours left" in event["message"] for event in events)
    assert stage.get("uq", "reader")["status"]["decision"] == "Allowed"
