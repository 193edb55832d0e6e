"""What users' servers start is charged to their users, and is no server."""

from hubquota.cluster.observing import observed
from tests.bench.history import Hub
from tests.bench.objects import Moment, sight

WORKER = next(life for life in Hub(users=200).lives() if life.user is not None and life.server is None)


def test_a_worker_is_charged_to_its_user() -> None:
    record = observed(sight(WORKER, Moment(WORKER.created)), "default")
    assert record is not None
    assert (record.user, record.server) == (WORKER.user, None)


def test_a_worker_adds_no_server_hours() -> None:
    record = observed(sight(WORKER, Moment(WORKER.created)), "default")
    assert record is not None
    assert "servers" not in {s.resource for s in record.segments}


def test_a_worker_with_our_annotation_is_charged_to_its_user() -> None:
    seen = sight(WORKER, Moment(WORKER.created))
    marks = {"hubquota.dev/user": WORKER.user, "hubquota.dev/groups": "[]"}
    seen.pod["metadata"]["annotations"] = marks
    record = observed(seen, "default")
    assert record is not None
    assert record.user == WORKER.user
