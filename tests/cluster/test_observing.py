"""What is kept of a pod is what the API server told of it, and a poison pod is named, not fatal."""

import json
from pathlib import Path
from typing import Any

import pytest

from hubquota.cluster.observing import PoisonPod, Sight, observed
from hubquota.domain.history import HowEnded, PodRecord
from hubquota.domain.pods import micros
from hubquota.ledger import Ledger

NINE, TEN = "2026-03-01T09:00:00Z", "2026-03-01T10:00:00Z"
NOON = micros("2026-03-01T12:00:00Z")


def pod(
    annotations: dict[str, str] | None = None, ended: str | None = None, placed: bool = True, **status: object
) -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "status": str(placed), "lastTransitionTime": NINE}]
    ends = [{"state": {"terminated": {"finishedAt": ended}}}] if ended else []
    return {
        "metadata": {
            "uid": "u1",
            "namespace": "hub",
            "name": "jupyter-alice",
            "annotations": {"hub.jupyter.org/username": "alice"} if annotations is None else annotations,
        },
        "spec": {"nodeName": "n1", "containers": [{"image": "i", "resources": {"requests": {"cpu": "1"}}}]},
        "status": {"conditions": conditions, "containerStatuses": ends, "phase": "Succeeded" if ended else "Running"}
        | status,
    }


def kept(made: dict[str, Any], at: int = NOON, gone: bool = False) -> PodRecord:
    record = observed(Sight(made, at, gone), "default")
    assert record is not None
    return record


def test_a_server_is_its_user_s_by_the_raw_name_on_the_pod() -> None:
    record = kept(pod({"hub.jupyter.org/username": "Álice@uni", "hub.jupyter.org/servername": "gpu"}))
    assert (record.user, record.server, record.scheduled, record.end) == ("Álice@uni", "gpu", micros(NINE), None)
    assert {s.resource: s.request for s in record.segments} == {"cpu": 1000, "servers": 1000}


def test_the_hook_s_annotations_are_kept() -> None:
    ours = {"hubquota.dev/groups": '["b", "a"]', "hubquota.dev/group": "a", "hubquota.dev/instance-type": "small"}
    record = kept(pod({"hub.jupyter.org/username": "alice"} | ours))
    assert (record.groups, record.chosen_group, record.instance_type) == (("a", "b"), "a", "small")


def test_primehub_s_annotation_is_read() -> None:
    told = {"component": "job", "component_name": "j1", "group": "phusers", "user": "foo", "instance_type": "cpu-1"}
    record = kept(pod({"primehub.io/usage": json.dumps(told)}))
    assert (record.user, record.chosen_group, record.component, record.server) == ("foo", "phusers", "job", None)


@pytest.mark.parametrize("made", [pod({}), pod(placed=False)], ids=["nobody's", "not placed"])
def test_what_holds_nothing_of_ours_is_not_kept(made: dict[str, Any]) -> None:
    assert observed(Sight(made, NOON), "default") is None


def test_the_last_container_s_end_is_the_end() -> None:
    end = kept(pod(ended=TEN)).end
    assert end is not None
    assert (end.at, end.how, end.bound) == (micros(TEN), HowEnded.CONTAINERS, None)


@pytest.mark.parametrize("ended", ["2026-03-01T08:00:00Z", "2026-03-01T12:00:06Z"], ids=["before", "in the future"])
def test_an_end_that_cannot_be_is_the_receipt(ended: str) -> None:
    end = kept(pod(ended=ended)).end
    assert end is not None
    assert (end.at, end.how) == (NOON, HowEnded.RECEIPT)


def test_a_pod_that_never_ran_ends_at_its_deletion() -> None:
    end = kept(pod(), gone=True).end
    assert end is not None
    assert (end.at, end.how) == (NOON, HowEnded.DELETED)


def told(at: str) -> list[dict[str, Any]]:
    return [{"manager": "kubelet", "time": at, "subresource": "status", "fieldsV1": {"f:status": {"f:phase": {}}}}]


def test_a_pod_that_was_over_long_before_we_looked_ended_when_the_api_server_heard_of_it() -> None:
    rejected = pod(phase="Failed", containerStatuses=[])
    rejected["metadata"]["managedFields"] = told(TEN)
    end = kept(rejected).end
    assert end is not None
    assert (end.at, end.how, end.bound) == (micros(TEN), HowEnded.DELETED, None)
    assert kept(rejected, NOON + 3_600_000_000).end == end


@pytest.mark.parametrize("at", ["2026-03-01T08:59:59Z", "2026-03-01T12:00:01Z"], ids=["before", "in the future"])
def test_a_word_of_the_api_server_that_cannot_be_is_passed_over(at: str) -> None:
    rejected = pod(phase="Failed", containerStatuses=[])
    rejected["metadata"]["managedFields"] = told(at)
    end = kept(rejected).end
    assert end is not None
    assert end.at == NOON


def test_an_end_in_the_future_is_none_when_it_is_looked_at_later_either() -> None:
    ahead = pod(ended="2026-03-01T11:00:00Z")
    ahead["metadata"]["managedFields"] = told(TEN)
    end = kept(ahead).end
    assert end is not None
    assert (end.at, end.how) == (micros(TEN), HowEnded.RECEIPT)


def going(told: str, grace: int) -> dict[str, Any]:
    """A running pod that was told to go: it should be gone by an instant, with some seconds of grace from when on."""
    made = pod()
    made["metadata"] |= {"deletionTimestamp": told, "deletionGracePeriodSeconds": grace}
    return made


def test_a_pod_that_is_told_to_go_lives_until_it_is_gone() -> None:
    assert kept(going(TEN, 0)).end is None
    assert kept(going(TEN, 30)).end is None


@pytest.mark.parametrize(
    ("told", "grace", "at"),
    [(TEN, 0, micros(TEN)), (TEN, 30, NOON), ("2026-03-01T12:00:01Z", 0, NOON), ("2026-03-01T08:00:00Z", 0, NOON)],
    ids=["by the API server", "it only should have been", "in the future", "before the placement"],
)
def test_a_running_pod_that_is_gone_ended_when_it_was_taken_away_however_late_we_hear(
    told: str, grace: int, at: int
) -> None:
    end = kept(going(told, grace), gone=True).end
    assert end is not None
    assert (end.at, end.how, end.bound) == (at, HowEnded.DELETED, None)


async def test_an_in_place_resize_starts_a_new_allocation_when_it_is_seen(tmp_path: Path) -> None:
    small, large = pod(), pod(containerStatuses=[{"name": "n", "resources": {"requests": {"cpu": "3"}}}])
    small["spec"]["containers"][0]["name"] = large["spec"]["containers"][0]["name"] = "n"
    async with await Ledger.open(f"sqlite:///{tmp_path / 'hubquota.db'}") as ledger:
        await ledger.record([kept(small), kept(large, NOON + 60_000_000)])
        [record] = await ledger.open_pods("hub")
    assert [(s.request, s.start, s.end) for s in record.segments if s.resource == "cpu"] == [
        (1000, micros(NINE), NOON + 60_000_000),
        (3000, NOON + 60_000_000, None),
    ]
    assert [(s.start, s.end) for s in record.segments if s.resource == "servers"] == [(micros(NINE), None)]


@pytest.mark.parametrize(
    "made",
    [
        pod({"hub.jupyter.org/username": "a", "hubquota.dev/groups": "{"}),
        pod({"hub.jupyter.org/username": "a", "hubquota.dev/groups": "3"}),
        pod({"primehub.io/usage": "[]"}),
        pod({"hub.jupyter.org/username": "a\0b"}),
        pod() | {"spec": {"containers": [{"resources": {"requests": {"cpu": "lots"}}}]}},
        pod() | {"spec": {"containers": [{"resources": {"requests": {"cpu": "-1"}}}]}},
        pod() | {"spec": {"containers": [{"resources": {"requests": {"cpu": "1e30"}}}]}},
        pod() | {"spec": {}},
    ],
)
def test_a_poison_pod_is_named(made: dict[str, Any]) -> None:
    with pytest.raises(PoisonPod, match="hub/jupyter-alice is not metered"):
        observed(Sight(made, NOON), "default")
