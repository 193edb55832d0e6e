"""A QuotaPolicy that an older CRD let through gets a condition, and those beside it are applied."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.test_caps import older_crd
from tests.cluster.test_operator import POLICY, Bench, ago, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.patience import until
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster
GOOD: dict[str, Any] = POLICY["spec"]
#: What slipped past, and what its condition has to say.
WRONG: dict[str, tuple[Any, str]] = {
    "no-scope": (GOOD | {"scope": {}}, "write users and/or groups, or everyone: true"),
    "unknown-enforcement": (GOOD | {"enforcement": "Stop"}, "'Deny', 'Warn' or 'Observe'"),
    "two-windows": (GOOD | {"window": {"rolling": "7d", "calendar": "Day", "timeZone": "UTC"}}, "exactly one form"),
    "negative": (GOOD | {"limit": {"value": -1, "unit": "GiB-hours"}}, "must be 0 or more"),
    "a-float": (GOOD | {"limit": {"value": 0.5, "unit": "GiB-hours"}}, "limit.value"),
    "wrong-unit": (GOOD | {"resource": "cpu"}, "does not fit cpu"),
    "a-list": ([1, 2], "spec"),
    "many-users": (GOOD | {"scope": {"users": [f"u{i}" for i in range(1001)]}}, "at most 1000"),
}
#: Of the wrong type: the API server's own rules fail on them, so it takes no status of theirs either.
HOPELESS = {"a-list", "a-float"}


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Bench:
    return Bench(api, namespace, tmp_path)


def takes(bench: Bench, name: str, spec: object) -> bool:
    body = json.dumps(POLICY | {"metadata": {"name": name}, "spec": spec})
    create = ("-n", bench.namespace, "create", "--validate=false", "-f", "-")
    return bench.api.kubectl(*create, stdin=body).returncode == 0


def conditions(bench: Bench) -> dict[str, dict[str, Any]]:
    """Of each policy what it says of being ready."""
    items = bench.read("qp")["items"]
    told = {i["metadata"]["name"]: i.get("status", {}).get("conditions", []) for i in items}
    return {name: c for name, found in told.items() for c in found if c["type"] == "Ready"}


def told_of(name: str, operator: Program) -> int:
    """How often it is logged that a policy cannot be told what is wrong."""
    return operator.last_words(1_000_000).count(f"quotapolicies={name} cannot be told what is wrong")


def test_what_slipped_past_gets_a_condition_and_its_neighbour_is_applied(api: ControlPlane, bench: Bench) -> None:
    with older_crd(api, "quotapolicies"):
        for name, (spec, _) in WRONG.items():
            until(lambda n=name, s=spec: takes(bench, n, s))  # type: ignore[misc]
    bench.create(POLICY)
    bench.place("jupyter-alice", "alice", ago(600))
    operator = bench.operator()
    operator.start()
    try:
        eventually(lambda: bench.used_seconds("alice") > 599, operator)
        eventually(lambda: len(conditions(bench)) == len(WRONG) + 1 - len(HOPELESS), operator)
        found = conditions(bench)
        assert found.pop("weekly")["status"] == "True"
        for name in WRONG.keys() - HOPELESS:
            assert (found[name]["status"], found[name]["reason"]) == ("False", "Invalid")
            assert WRONG[name][1] in found[name]["message"]
        eventually(lambda: all(told_of(name, operator) for name in HOPELESS), operator)
        assert all(told_of(name, operator) == 1 for name in HOPELESS)
    finally:
        operator.stop()
