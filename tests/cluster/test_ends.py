"""The ends of pods: each way in which one is learnt or missed, and what the ledger then says of it.

On a real API server, with the operator as it is run. ``finished``, ``how_ended``, ``estimated`` and ``bound`` of a row
are a PodEnd: ``at``, ``how``, and ``bound``, which is None where the end is certain.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hubquota.domain.history import HowEnded, PodEnd
from hubquota.domain.pods import micros
from tests.cluster.rows import Rows, lasting
from tests.cluster.test_operator import Bench, ago
from tests.testbed.control_plane import ControlPlane

pytestmark = pytest.mark.cluster
SECOND = 1_000_000


def now() -> int:
    return time.time_ns() // 1000


class World(Bench):
    """A namespace, an operator that watches it, and the ledger's rows."""

    def __init__(self, api: ControlPlane, namespace: str, folder: Path) -> None:
        super().__init__(api, namespace, folder)
        self.program = self.operator()
        self.rows = Rows(f"sqlite:///{folder}/ledger.db", namespace, self.program)

    def placed(self, name: str, at: str | None = None) -> None:
        """A pod of a user of the same name, as the operator has seen it."""
        at = at or ago(500)
        self.place(name, name, at)
        self.rows.when(lambda: [r.scheduled for r in self.rows.of(name)] == [micros(at)])

    def told(self, name: str, status: dict[str, Any]) -> None:
        self.objects.report(name, status)

    def gone(self, name: str) -> None:
        """Take it away at once, whatever runs in it."""
        self.do("delete", "pod", name, "--grace-period=0", "--force")

    def going(self, name: str, grace: int) -> int:
        """Tell it to go; returns the instant by which it should be gone."""
        self.do("delete", "pod", name, f"--grace-period={grace}", "--wait=false")
        return micros(self.pod(name)["metadata"]["deletionTimestamp"])

    def pod(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.read("pod", name)
        return found

    def down(self) -> None:
        """The operator is killed."""
        self.killed(self.program)

    def up(self) -> None:
        self.program.start()


@pytest.fixture(scope="module")
def world(api: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all of these: each has pods of its own."""
    name = f"ends-{time.time_ns() % 10**9}"
    api.make_namespace(name)
    found = World(api, name, tmp_path_factory.mktemp("ends"))
    found.up()
    yield found
    found.program.stop()
    api.end_namespace(name)


def container(name: str, **state: object) -> dict[str, Any]:
    return {"name": name, "image": "i", "imageID": "i", "ready": False, "restartCount": 0, "state": state}


def finished(at: str, code: int = 0) -> dict[str, Any]:
    return {"exitCode": code, "startedAt": at, "finishedAt": at}


def test_containers_that_finish_end_the_pod_to_the_second(world: World) -> None:
    world.placed("finishes")
    at = ago(100)
    world.end("finishes", at)
    assert world.rows.end("finishes") == PodEnd(micros(at), HowEnded.CONTAINERS)


def test_containers_that_finished_while_the_operator_was_down_did_so_to_the_second(world: World) -> None:
    world.placed("finishes-unseen")
    world.down()
    at = ago(100)
    world.end("finishes-unseen", at)
    world.up()
    assert world.rows.end("finishes-unseen") == PodEnd(micros(at), HowEnded.CONTAINERS)


def test_a_pod_that_came_and_finished_while_the_operator_was_down_is_kept_whole(world: World) -> None:
    world.down()
    start, end = ago(400), ago(100)
    world.place("came-unseen", "came-unseen", start)
    world.end("came-unseen", end)
    world.up()
    found = world.rows.ended("came-unseen")
    assert (found.scheduled, found.end) == (micros(start), PodEnd(micros(end), HowEnded.CONTAINERS))


def test_of_a_pod_that_came_and_went_while_the_operator_was_down_nothing_is_known(world: World) -> None:
    world.down()
    world.place("ghost", "ghost", ago(400))
    world.gone("ghost")
    world.place("after-the-ghost", "ghost", ago(100))
    world.up()
    world.rows.open("after-the-ghost")
    assert world.rows.of("ghost") == []


def test_a_finished_pod_that_is_never_deleted_stays_as_it_ended(world: World) -> None:
    world.placed("lingers")
    at = ago(100)
    world.end("lingers", at)
    before = world.rows.ended("lingers")
    assert before.end == PodEnd(micros(at), HowEnded.CONTAINERS)
    for _ in range(2):
        world.down()
        listed = now()
        world.up()
        world.rows.when(lambda listed=listed: world.rows.ended("lingers").last_seen > listed)  # type: ignore[misc]
    assert lasting(world.rows.ended("lingers")) == lasting(before)


def test_an_evicted_pod_ends_with_its_containers(world: World) -> None:
    world.placed("evicted")
    at = ago(50)
    ends = [container("notebook", terminated=finished(at, 137))]
    world.told("evicted", {"phase": "Failed", "reason": "Evicted", "message": "m", "containerStatuses": ends})
    assert world.rows.end("evicted") == PodEnd(micros(at), HowEnded.CONTAINERS)


def test_a_deleted_pod_ends_with_its_containers_not_when_it_was_told_to_go_nor_when_it_was_gone(world: World) -> None:
    world.placed("deleted")
    world.going("deleted", 300)
    at = ago(20)
    world.end("deleted", at)
    world.gone("deleted")
    assert world.rows.certain_end("deleted") == PodEnd(micros(at), HowEnded.CONTAINERS)


def test_a_pod_that_is_taken_away_while_it_runs_ends_when_it_is_gone(world: World) -> None:
    world.placed("taken")
    before = now()
    world.gone("taken")
    end = world.rows.certain_end("taken")
    assert end.how is HowEnded.DELETED
    assert before - SECOND < end.at < now()


def test_a_pod_whose_containers_never_ran_ends_when_it_is_gone(world: World) -> None:
    world.placed("never-ran")
    world.told("never-ran", {"phase": "Pending", "containerStatuses": [container("notebook", waiting={})]})
    before = now()
    world.gone("never-ran")
    end = world.rows.certain_end("never-ran")
    assert end.how is HowEnded.DELETED
    assert before - SECOND < end.at < now()


def test_a_pod_that_is_to_go_lives_until_it_is_gone_however_long_its_node_is_lost(world: World) -> None:
    world.placed("lost")
    due = world.going("lost", 1)
    world.placed("meanwhile")
    world.rows.when(lambda: now() > due + 2 * SECOND)
    assert world.rows.of("lost")[0].end is None
    before = now()
    world.gone("lost")
    end = world.rows.certain_end("lost")
    assert end.how is HowEnded.DELETED
    assert before - SECOND < end.at < now()


REJECTED: dict[str, Any] = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "containerStatuses": None}


def test_a_rejected_pod_of_whose_containers_nothing_is_told_ends_when_the_api_server_hears_of_it(world: World) -> None:
    world.placed("rejected")
    before = now()
    world.told("rejected", REJECTED)
    end = world.rows.certain_end("rejected")
    assert end.how is HowEnded.DELETED
    assert before - SECOND < end.at < now()


def test_also_where_that_was_long_before_the_operator_came_back(world: World) -> None:
    world.placed("rejected-unseen")
    world.down()
    before = now()
    world.told("rejected-unseen", REJECTED)
    after = now()
    world.up()
    end = world.rows.certain_end("rejected-unseen")
    assert end.how is HowEnded.DELETED
    assert before - SECOND < end.at < after


def test_a_pod_of_a_lost_node_that_is_let_fail_does_not_end_with_its_first_step(world: World) -> None:
    """What PodGC does: it tells the phase, and leaves the containers' statuses as the kubelet told them last."""
    world.placed("orphan")
    runs = container("notebook", running={"startedAt": ago(480)})
    step = container("block-cloud-metadata", terminated=finished(ago(490)))
    world.told("orphan", {"containerStatuses": [runs], "initContainerStatuses": [step]})
    before = now()
    world.told("orphan", {"phase": "Failed"})
    end = world.rows.certain_end("orphan")
    assert end.how is HowEnded.DELETED
    assert before - SECOND < end.at < now()


def test_an_end_before_the_placement_or_in_the_future_is_when_it_was_heard_and_stays_so(world: World) -> None:
    for name, seconds in (("too-early", 900), ("too-late", -3600)):
        world.placed(name)
        before = now()
        world.end(name, ago(seconds))
        end = world.rows.certain_end(name)
        assert end.how is HowEnded.RECEIPT
        assert before - SECOND < end.at < now()
        world.gone(name)
        world.placed(f"after-{name}")
        assert world.rows.end(name) == end


def test_an_end_a_few_seconds_ahead_is_only_a_kubelet_s_clock(world: World) -> None:
    world.placed("ahead")
    at = ago(-3)
    world.end("ahead", at)
    assert world.rows.end("ahead") == PodEnd(micros(at), HowEnded.CONTAINERS)


def test_a_pod_that_no_node_takes_has_no_row_whatever_becomes_of_it(world: World) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "unschedulable", "annotations": {"hub.jupyter.org/username": "unschedulable"}},
        "spec": {"schedulerName": "nobody", "containers": [{"name": "notebook", "image": "i"}]},
    }
    world.create(pod)
    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": ago(10)}
    world.told("unschedulable", {"phase": "Pending", "conditions": [waits]})
    world.placed("beside-it")
    world.down()
    world.up()
    world.do("delete", "pod", "unschedulable")
    world.placed("beside-it-too")
    assert world.rows.of("unschedulable") == []


def test_a_pod_gone_while_the_operator_was_down_ends_when_it_was_last_seen(world: World) -> None:
    world.placed("vanished")
    world.down()
    seen = world.rows.open("vanished").last_seen
    before = now()
    world.gone("vanished")
    world.up()
    end = world.rows.end("vanished")
    assert (end.how, end.at) == (HowEnded.LAST_SEEN, seen)
    assert end.bound is not None
    assert before < end.bound < now()


def test_or_when_it_was_due_to_be_gone_where_that_is_known(world: World) -> None:
    world.placed("overdue")
    due = world.going("overdue", 1)
    world.rows.when(lambda: world.rows.of("overdue")[0].deletion == due)
    world.down()
    while now() < due + SECOND:
        time.sleep(0.05)
    world.gone("overdue")
    world.up()
    end = world.rows.end("overdue")
    assert (end.how, end.at) == (HowEnded.DELETION_TIMESTAMP, max(due, world.rows.ended("overdue").last_seen))
    assert end.bound is not None
    assert due < end.bound < now()


def test_but_never_later_than_it_was_found_to_be_gone(world: World) -> None:
    world.placed("sooner")
    due = world.going("sooner", 3600)
    world.rows.when(lambda: world.rows.of("sooner")[0].deletion == due)
    world.down()
    world.gone("sooner")
    world.up()
    end = world.rows.end("sooner")
    assert end == PodEnd(end.at, HowEnded.DELETION_TIMESTAMP, end.at)
    assert end.at < now()


def test_another_pod_under_the_same_name_is_another_row(world: World) -> None:
    world.placed("same")
    world.down()
    seen = world.rows.open("same").last_seen
    world.gone("same")
    placed = ago(0)
    world.place("same", "same", placed)
    world.up()
    world.rows.when(lambda: len(world.rows.of("same")) == 2)
    first, second = world.rows.of("same")
    assert first.uid != second.uid
    world.rows.when(lambda: world.rows.of("same")[0].end is not None)
    end = world.rows.of("same")[0].end
    assert end is not None
    assert (end.how, end.at) == (HowEnded.LAST_SEEN, seen)
    assert (second.scheduled, second.end) == (micros(placed), None)
