"""Ends of pods that the operator missed while it ran: its watch was cut and could not be taken up, or the hub went.

Pods are listed every ten minutes here, so what is found out within seconds is not found out by that.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from hubquota.domain.history import HowEnded, PodRecord
from hubquota.domain.pods import micros
from tests.cluster.test_ends import World, now
from tests.cluster.test_operator import POLICY, ago
from tests.testbed.control_plane import ControlPlane
from tests.testbed.line import Line
from tests.testbed.local import LocalControlPlane

pytestmark = pytest.mark.cluster


class CutOff(World):
    """An operator on a line of its own to the API server."""

    def __init__(self, api: ControlPlane, namespace: str, folder: Path, line: Line) -> None:
        super().__init__(api, namespace, folder)
        through = line.kubeconfig(Path(self.program.env["KUBECONFIG"]), folder / "kubeconfig-line")
        terms = {"RESYNC_INTERVAL": "600", "HEARTBEAT_INTERVAL": "1"}
        told = {f"HUBQUOTA_{name}": value for name, value in terms.items()}
        self.program.env = {**self.program.env, **told, "KUBECONFIG": str(through)}
        self.line = line

    def gap(self, api: LocalControlPlane) -> None:
        """What happened since the line was cut is forgotten, then it is mended."""
        version = self._version()
        api.forget_history()
        assert self._watched(version).json()["object"]["code"] == httpx.codes.GONE
        self.line.mend()

    def _version(self) -> str:
        return str(self._pods({}).json()["metadata"]["resourceVersion"])

    def _watched(self, version: str) -> httpx.Response:
        return self._pods({"watch": "true", "resourceVersion": str(int(version) - 1), "timeoutSeconds": "1"})

    def _pods(self, query: dict[str, str]) -> httpx.Response:
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        return self.api.calls.answer("GET", f"{path}?{urlencode(query)}")


@pytest.fixture
def world(own_control_plane: LocalControlPlane, namespace: str, tmp_path: Path) -> Iterator[CutOff]:
    with Line(own_control_plane.url) as line:
        found = CutOff(own_control_plane, namespace, tmp_path, line)
        found.up()
        yield found
        found.program.kill()


def assert_missed(row: PodRecord, seen: int) -> None:
    """It ended when it was last seen: that is when it was at ``seen``, or later."""
    assert row.end is not None
    assert (row.end.how, row.end.at) == (HowEnded.LAST_SEEN, row.last_seen)
    assert seen <= row.last_seen < bound_of(row)


def bound_of(row: PodRecord) -> int:
    """By when it was gone."""
    assert row.end is not None
    assert row.end.bound is not None
    return row.end.bound


def test_what_vanished_in_a_watch_gap_is_found_when_the_pods_are_listed_anew(
    own_control_plane: LocalControlPlane, world: CutOff
) -> None:
    world.placed("vanished")
    world.placed("finished")
    world.placed("stays")
    world.placed("replaced")
    seen = {name: world.rows.open(name).last_seen for name in ("vanished", "replaced")}
    world.line.cut()
    cut = now()
    world.gone("vanished")
    at = ago(1)
    world.end("finished", at)
    world.gone("replaced")
    world.place("replaced", "replaced", ago(0))
    world.gap(own_control_plane)
    vanished = world.rows.ended("vanished")
    assert_missed(vanished, seen["vanished"])
    assert cut < bound_of(vanished) < now()
    done = world.rows.end("finished")
    assert (done.how, done.at, done.bound) == (HowEnded.CONTAINERS, micros(at), None)
    assert world.rows.open("stays")
    world.rows.when(lambda: [row.end is None for row in world.rows.of("replaced")] == [False, True])
    assert_missed(world.rows.of("replaced")[0], seen["replaced"])


def test_also_where_no_pod_is_left(own_control_plane: LocalControlPlane, world: CutOff) -> None:
    world.placed("vanished")
    world.line.cut()
    world.gone("vanished")
    world.gap(own_control_plane)
    assert world.rows.end("vanished").how is HowEnded.LAST_SEEN


def test_a_pod_that_was_taken_away_while_the_watch_was_only_cut_ended_then_not_when_that_was_heard(
    world: CutOff,
) -> None:
    """The watch is taken up where it broke off, so all that happened is told, but late."""
    world.placed("taken")
    world.placed("stays")
    world.line.cut()
    before = now()
    world.gone("taken")
    after = now()
    world.rows.when(lambda: now() > after + 3_000_000)
    world.line.mend()
    end = world.rows.certain_end("taken")
    assert end.how is HowEnded.DELETED
    assert before - 1_000_000 < end.at < after


def test_a_policy_that_was_deleted_in_a_gap_stops_nobody_any_more(
    own_control_plane: LocalControlPlane, world: CutOff
) -> None:
    strict = POLICY["spec"] | {"limit": {"value": 0, "unit": "GiB-hours"}}
    for name, spec in (("strict", strict), ("weekly", POLICY["spec"])):
        world.create(POLICY | {"metadata": {"name": name}, "spec": spec})
    world.placed("alice")
    world.rows.when(lambda: world.status("alice").get("decision") == "Denied")
    world.line.cut()
    world.do("delete", "qp", "strict")
    world.gap(own_control_plane)
    world.rows.when(lambda: world.status("alice").get("decision") == "Allowed")
    world.rows.when(lambda: world.rows.policies_held() == {"weekly"})


def ends(world: World) -> list[int]:
    """Of the policies that hold no more."""
    return [revision.end for revision in world.rows.revisions() if revision.end is not None]


def test_policies_that_were_deleted_while_the_operator_was_down_hold_no_more_in_the_history_either(
    api: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    world = World(api, namespace, tmp_path)
    for name in ("old", "weekly", "replaced"):
        world.create(POLICY | {"metadata": {"name": name}})
    world.up()
    try:
        world.rows.when(lambda: world.rows.policies_held() == {"old", "weekly", "replaced"})
        world.down()
        world.do("delete", "qp", "old", "replaced")
        world.create(POLICY | {"metadata": {"name": "replaced"}})
        before = now()
        world.up()
        world.rows.when(lambda: len(ends(world)) == 2 and world.rows.policies_held() == {"weekly", "replaced"})
        assert all(before < end < now() for end in ends(world))
    finally:
        world.down()


class Elsewhere(World):
    """An operator in another namespace than its hub's."""

    def __init__(self, api: ControlPlane, hub: str, operator: str, folder: Path) -> None:
        super().__init__(api, hub, folder)
        told = {"HUBQUOTA_OPERATOR_NAMESPACE": operator, "KUBECONFIG": str(api.kubeconfig)}
        self.program.env = {**self.program.env, **told}

    def delete_namespace(self) -> None:
        done = self.api.kubectl("delete", "namespace", self.namespace, "--wait=false")
        assert done.returncode == 0, done.stderr

    def is_going(self, name: str) -> bool:
        return "deletionTimestamp" in self.pod(name)["metadata"]

    def is_there(self) -> bool:
        return self.api.has_namespace(self.namespace)


@pytest.fixture
def elsewhere(namespace_controller: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Elsewhere]:
    hub = f"{namespace}-hub"
    namespace_controller.make_namespace(hub)
    found = Elsewhere(namespace_controller, hub, namespace, tmp_path)
    found.up()
    yield found
    found.program.kill()
    namespace_controller.end_namespace(hub)


def test_pods_of_a_namespace_that_is_deleted_end_as_those_that_are_deleted_one_by_one(elsewhere: Elsewhere) -> None:
    for name in ("finishes", "is-cut-off"):
        elsewhere.placed(name)
    elsewhere.delete_namespace()
    for name in ("finishes", "is-cut-off"):
        elsewhere.rows.when(lambda name=name: elsewhere.is_going(name))  # type: ignore[misc]
    at = ago(1)
    elsewhere.end("finishes", at)
    before = now()
    for name in ("finishes", "is-cut-off"):
        elsewhere.gone(name)
    done, cut = elsewhere.rows.certain_end("finishes"), elsewhere.rows.certain_end("is-cut-off")
    assert (done.how, done.at) == (HowEnded.CONTAINERS, micros(at))
    assert cut.how is HowEnded.DELETED
    assert before - 1_000_000 < cut.at < now()


def test_where_nobody_looked_meanwhile_they_end_when_the_hub_is_listed_again(elsewhere: Elsewhere) -> None:
    elsewhere.placed("vanished")
    elsewhere.down()
    seen = elsewhere.rows.open("vanished").last_seen
    elsewhere.delete_namespace()
    elsewhere.gone("vanished")
    deadline = now() + 180_000_000
    while elsewhere.is_there():
        assert now() < deadline
        time.sleep(0.1)
    elsewhere.api.make_namespace(elsewhere.namespace)
    elsewhere.up()
    end = elsewhere.rows.end("vanished")
    assert (end.how, end.at) == (HowEnded.LAST_SEEN, seen)
    assert end.bound is not None
    assert seen < end.bound < now()
