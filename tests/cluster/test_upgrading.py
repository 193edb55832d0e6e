"""The CRD is upgraded over policies that an older one took: each wrong one is told why, the right ones are applied."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.test_older_policies import GOOD, conditions
from tests.cluster.test_operator import POLICY, Bench, ago, eventually
from tests.conftest import CRDS
from tests.testbed.local import LocalControlPlane
from tests.testbed.patience import PATIENCE

pytestmark = pytest.mark.cluster
#: What the CRD says beyond types and descriptions; list types too, for keys must be required.
RULES = {
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "required",
    "enum",
    "pattern",
}
RULES |= {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"}
STORAGE: dict[str, Any] = {"scope": {"everyone": True}, "resource": "storage", "limit": {"value": 1, "unit": "GiB"}}


def without(field: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != field}


def limited(**limit: object) -> dict[str, Any]:
    return GOOD | {"limit": limit}


def during(**window: object) -> dict[str, Any]:
    return GOOD | {"window": window}


#: What slipped past, and what its condition says.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "for-nobody": (GOOD | {"scope": {}}, "write users and/or groups, or everyone: true, or fallback: true"),
    "two-scopes": (GOOD | {"scope": {"users": ["a"], "everyone": True}}, "only one of these"),
    "too-many-users": (GOOD | {"scope": {"users": [f"u{i}" for i in range(1001)]}}, "at most 1000 items"),
    "a-user-twice": (GOOD | {"scope": {"users": ["a", "a"]}}, "names something twice: write each once"),
    "a-user-without-name": (GOOD | {"scope": {"users": [""]}}, "scope.users.0: String should have at least 1"),
    "strange-resource": (GOOD | {"resource": "disk"}, "memory, cpu, servers, credits, storage, or an extended"),
    "strange-unit": (limited(value=1, unit="GB-hours"), "limit.unit: Input should be 'MiB-hours', 'GiB-hours'"),
    "unit-of-another": (GOOD | {"resource": "cpu"}, "unit GiB-hours does not fit cpu: write CPU-hours"),
    "negative": (limited(value=-1, unit="GiB-hours"), "limit.value: must be 0 or more: write a whole number"),
    "in-words": (limited(value="ten", unit="GiB-hours"), 'or a decimal in quotes such as "0.5"'),
    "no-unit": (limited(value=1), "write both, such as value: 1000 and unit: GiB-hours"),
    "unlimited": (limited(unlimited=True), "unlimited takes combine: Override"),
    "half-a-server": (
        {"scope": {"everyone": True}, "resource": "servers", "limit": {"value": "1.5", "unit": "servers"}},
        "write a whole number as value",
    ),
    "no-window": (without("window"), "write a window"),
    "two-windows": (during(rolling="7d", calendar="Day", timeZone="UTC"), "exactly one form: write rolling, or"),
    "rolling-in-words": (during(rolling="7 days"), "write days, hours and minutes, such as 7d or 1d12h"),
    "strange-calendar": (during(calendar="Fortnight", timeZone="UTC"), "'Day', 'Week', 'Month', 'Quarter' or 'Year'"),
    "no-zone": (during(calendar="Day"), "calendar and timeZone go together: write both"),
    "zone-local": (during(calendar="Day", timeZone="Local"), "write a name such as Europe/Berlin or UTC"),
    "ends-before-it-starts": (
        during(fixed={"start": "2026-09-02T00:00:00Z", "end": "2026-09-01T00:00:00Z"}),
        "write an end that is later than start",
    ),
    "strange-enforcement": (GOOD | {"enforcement": "Stop"}, "enforcement: Input should be 'Deny', 'Warn' or"),
    "strange-sharing": (GOOD | {"sharing": "Both"}, "sharing: Input should be 'PerUser' or 'Shared'"),
    "strange-combine": (GOOD | {"combine": "Mean"}, "combine: Input should be 'Min', 'Max', 'Sum' or 'Override'"),
    "pool-that-combines": (GOOD | {"sharing": "Shared", "combine": "Max"}, "leave combine out"),
    "warns-too-late": (GOOD | {"warnAt": 101}, "warnAt: Input should be less than or equal to 100"),
    "long-message": (GOOD | {"message": "x" * 1001}, "message: String should have at most 1000 characters"),
    "storage": (STORAGE, "write enforcement: Warn, Observe or Deny"),
    "storage-locked": (STORAGE | {"enforcement": "Deny"}, "still reach the files to delete: write exceptProfiles"),
    "credits-for-nothing": (
        GOOD | {"resource": "credits", "limit": {"value": 1, "unit": "credits"}},
        "write weights for credits",
    ),
    "weighs-memory": (GOOD | {"weights": [{"resource": "cpu", "perHour": 1}]}, "and for no other resource"),
}


#: The CRD's own rules look for its limit, so the API server takes no status of it: it is told in the log.
UNTELLABLE = "limits-nothing"


def loosened(schema: Any) -> Any:  # noqa: ANN401 - any part of a CRD
    """The same fields of the same types, with any value and in any combination."""
    if isinstance(schema, list):
        return [loosened(part) for part in schema]
    if isinstance(schema, dict):
        return {name: loosened(part) for name, part in schema.items() if name not in RULES}
    return schema


def older(folder: Path) -> Path:
    """The CRDs as they were before they had rules."""
    folder.mkdir()
    for crd in CRDS.glob("*.yaml"):
        body = yaml.safe_load(crd.read_text())
        for version in body["spec"]["versions"]:
            version["schema"] = loosened(version["schema"])
        (folder / crd.name).write_text(yaml.safe_dump(body))
    return folder


@pytest.fixture
def bench(own_control_plane: LocalControlPlane, tmp_path: Path) -> Iterator[Bench]:
    """A hub's namespace on a control plane of its own, whose CRDs are the older ones."""
    own = LocalControlPlane(own_control_plane.binaries, tmp_path / "own")
    try:
        own.start()
        own.apply(older(tmp_path / "older"), "hub")
        yield Bench(own, "hub", tmp_path)
    finally:
        own.stop()


def upgrade(bench: Bench) -> None:
    """Apply the CRDs over the older ones, as an admin does it, and wait until their rules hold."""
    bench.api.apply(CRDS)
    asked = json.dumps(POLICY | {"metadata": {"name": "asked"}, "spec": WRONG["for-nobody"][0]})
    deadline = time.monotonic() + PATIENCE
    while not bench.api.kubectl("-n", "hub", "create", "--dry-run=server", "-f", "-", stdin=asked).returncode:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_every_wrong_policy_is_told_what_to_write_and_the_right_ones_beside_them_are_applied(bench: Bench) -> None:
    slipped = {name: spec for name, (spec, _) in WRONG.items()} | {UNTELLABLE: without("limit")}
    for name, spec in ({"before": GOOD} | slipped).items():
        bench.create(POLICY | {"metadata": {"name": name}, "spec": spec})
    upgrade(bench)
    bench.create(POLICY | {"metadata": {"name": "after"}})
    bench.place("jupyter-alice", "alice", ago(600))
    operator = bench.operator()
    operator.start()
    try:
        eventually(lambda: conditions(bench).keys() == {"before", "after", *WRONG}, operator)
        told = conditions(bench)
        for name, (_, words) in WRONG.items():
            assert (told[name]["status"], told[name]["reason"]) == ("False", "Invalid"), name
            assert words in told[name]["message"]
        assert {told[name]["status"] for name in ("before", "after")} == {"True"}
        eventually(lambda: bench.used_seconds("alice") > 599, operator)
        assert {name for quota in bench.status("alice")["quotas"] for name in quota["policies"]} == {"before", "after"}
        bench.do("patch", "qp", "no-unit", "--type=merge", "-p", '{"spec": {"limit": {"unit": "GiB-hours"}}}')
        eventually(lambda: conditions(bench)["no-unit"]["status"] == "True", operator)
        assert f"quotapolicies={UNTELLABLE} cannot be told what is wrong" in operator.last_words(100_000)
    finally:
        operator.stop()
