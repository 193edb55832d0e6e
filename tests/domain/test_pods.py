"""A pod holds what the scheduler set aside for it, from its placement to its last container's end."""

from typing import Any

import pytest

from hubquota.domain.pods import allocation, finished_at, micros, phase_told_at, rfc3339, scheduled_at

NINE = "2026-03-01T09:00:00Z"
TEN = "2026-03-01T10:00:00Z"


def container(
    restart_policy: str | None = None, limits: dict[str, str] | None = None, **requests: str
) -> dict[str, Any]:
    made: dict[str, Any] = {"resources": {"requests": requests, "limits": limits or {}}}
    return made if restart_policy is None else made | {"restartPolicy": restart_policy}


def spec(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any field of a pod's spec
    return {"spec": {"containers": list(containers), **more}}


@pytest.mark.parametrize(
    ("pod", "held"),
    [
        (spec(container(cpu="500m"), container(cpu="1", memory="1Gi")), {"cpu": 1500, "memory": 2**30}),
        (spec(container(limits={"nvidia.com/gpu": "2"})), {"nvidia.com/gpu": 2000}),
        (spec(container(limits={"cpu": "4"}, cpu="1")), {"cpu": 1000}),
        (spec(container(cpu="1"), initContainers=[container(cpu="3")]), {"cpu": 3000}),
        (spec(container(cpu="1"), initContainers=[container("Always", cpu="2")]), {"cpu": 3000}),
        (
            spec(container(cpu="1"), initContainers=[container("Always", cpu="2"), container(cpu="4")]),
            {"cpu": 6000},
        ),
        (
            spec(container(cpu="1"), initContainers=[container(cpu="4"), container("Always", cpu="2")]),
            {"cpu": 4000},
        ),
        (spec(container(cpu="1"), overhead={"cpu": "250m"}), {"cpu": 1250}),
        (spec(container(cpu="1"), resources={"requests": {"cpu": "5"}}), {"cpu": 5000}),
        (spec(container(cpu="1"), container(cpu="2"), resources={"limits": {"cpu": "5"}}), {"cpu": 3000}),
        (spec(container(cpu="0"), resources={"limits": {"cpu": "5", "memory": "1Gi"}}), {"memory": 2**30}),
        (
            spec(container(limits={"nvidia.com/gpu": "1"}), resources={"requests": {"nvidia.com/gpu": "5"}}),
            {"nvidia.com/gpu": 1000},
        ),
        (spec(container(memory="500m"), container(memory="500m")), {"memory": 1}),
        (spec(container(cpu="1u"), container(cpu="1u")), {"cpu": 2}),
        (spec(container()), {}),
        (spec({"resources": {"requests": {"ephemeral-storage": "1Gi", "hugepages-2Mi": "2Mi"}}}), {}),
    ],
    ids=[
        "containers sum",
        "a limit stands for a missing request",
        "a request beside a limit is the request",
        "the largest init container",
        "a sidecar runs beside",
        "a sidecar runs beside a later init container",
        "but not beside an earlier one",
        "overhead",
        "pod-level resources",
        "a pod-level limit bounds what containers ask for",
        "a pod-level limit stands for what no container mentions",
        "pod-level devices are left unread",
        "bytes are rounded in the sum",
        "thousandths are rounded before, as they are stored",
        "nothing asked for",
        "passed over",
    ],
)
def test_allocation_is_counted_as_the_scheduler_counts(pod: dict[str, Any], held: dict[str, int]) -> None:
    assert allocation(pod) == held


def resized(wanted: str, in_force: object, reason: str | None = None, **status: object) -> dict[str, Any]:
    """A server of ``wanted`` CPUs whose kubelet tells the resources ``in_force``, and why a resize is pending."""
    told = {"name": "notebook", "resources": in_force} | status
    pending = [{"type": "PodResizePending", "status": "True", "reason": reason}] if reason else []
    notebook = container(cpu=wanted) | {"name": "notebook"}
    return spec(notebook) | {"status": {"containerStatuses": [told], "conditions": pending}}


@pytest.mark.parametrize(
    ("pod", "cpu"),
    [
        (resized("1", {"requests": {"cpu": "1"}}), 1000),
        (resized("3", {"requests": {"cpu": "1"}}), 3000),
        (resized("1", {"requests": {"cpu": "3"}}), 3000),
        (resized("1", {"requests": {"cpu": "1"}}, allocatedResources={"cpu": "2"}), 2000),
        (resized("3", {"requests": {"cpu": "1"}}, "Deferred"), 3000),
        (resized("3", {"requests": {"cpu": "1"}}, "Infeasible"), 1000),
        (resized("1", {"requests": {"cpu": "1"}, "limits": {"cpu": "4"}}), 1000),
        (resized("1", None, allocatedResources={"cpu": "2"}), 1000),
    ],
    ids=[
        "no resize",
        "more is wanted",
        "less is wanted and not yet in force",
        "more is allotted and not yet in force",
        "the node has no room yet",
        "the node will never have room",
        "a limit in force is no request",
        "a kubelet that tells no resources",
    ],
)
def test_during_a_resize_the_most_that_may_be_in_use_is_held(pod: dict[str, Any], cpu: int) -> None:
    assert allocation(pod) == {"cpu": cpu}


def test_a_sidecar_is_resized_like_a_container_and_a_step_of_the_start_is_not() -> None:
    starting = [container("Always", cpu="1") | {"name": "proxy"}, container(cpu="1") | {"name": "fetch"}]
    told = [{"name": name, "resources": {"requests": {"cpu": "4"}}} for name in ("proxy", "fetch")]
    assert allocation(spec(initContainers=starting) | {"status": {"initContainerStatuses": told}}) == {"cpu": 5000}


def with_status(**status: object) -> dict[str, Any]:
    return {"status": status}


def condition(status: str) -> list[dict[str, str]]:
    return [{"type": "PodScheduled", "status": status, "lastTransitionTime": NINE}]


def test_a_pod_is_held_from_its_placement() -> None:
    assert scheduled_at(with_status(conditions=condition("True"))) == micros(NINE)


@pytest.mark.parametrize("pod", [{}, with_status(), with_status(conditions=condition("False"))])
def test_a_pod_that_is_not_placed_holds_nothing(pod: dict[str, Any]) -> None:
    assert scheduled_at(pod) is None


def ended(at: str) -> dict[str, Any]:
    return {"state": {"terminated": {"finishedAt": at}}}


def test_a_finished_pod_ends_with_its_last_container() -> None:
    pod = with_status(phase="Succeeded", containerStatuses=[ended(TEN), ended(NINE)])
    assert finished_at(pod) == micros(TEN)


def test_a_container_between_restarts_has_not_ended() -> None:
    assert finished_at(with_status(phase="Running", containerStatuses=[ended(NINE)])) is None


RUNNING: dict[str, Any] = {"state": {"running": {"startedAt": NINE}}}
UNKNOWN: dict[str, Any] = {"state": {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown"}}}
CRASHED: dict[str, Any] = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(NINE)["state"]}
NEVER_RAN: dict[str, Any] = {"state": {"waiting": {"reason": "PodInitializing"}}, "lastState": {}}


@pytest.mark.parametrize("left", [RUNNING, UNKNOWN, CRASHED], ids=["runs still", "is unknown", "was to be restarted"])
def test_the_end_of_a_first_step_is_not_the_pod_s_where_what_became_of_its_containers_is_not_told(
    left: dict[str, Any],
) -> None:
    # As of a pod whose node was lost: whoever lets it fail leaves the statuses as they were last told.
    assert (
        finished_at(with_status(phase="Failed", containerStatuses=[left], initContainerStatuses=[ended(NINE)])) is None
    )
    assert finished_at(with_status(phase="Failed", containerStatuses=[ended(TEN), left])) is None


def test_a_pod_whose_first_step_failed_ended_with_it() -> None:
    pod = with_status(phase="Failed", containerStatuses=[NEVER_RAN], initContainerStatuses=[ended(NINE)])
    assert finished_at(pod) == micros(NINE)


def test_where_no_container_is_told_of_at_all_no_end_is() -> None:
    assert finished_at(with_status(phase="Failed", initContainerStatuses=[ended(NINE)])) is None


def test_that_a_pod_is_over_was_told_when_its_phase_was_last_written() -> None:
    def wrote(manager: str, at: str, subresource: str, **fields: object) -> dict[str, Any]:
        return {"manager": manager, "time": at, "subresource": subresource, "fieldsV1": fields}

    over: dict[str, object] = {"f:status": {"f:phase": {}}}
    entries = [
        wrote("kubelet", NINE, "status", **over),
        wrote("other", TEN, "status", **{"f:status": {"f:qosClass": {}}}),
    ]
    assert phase_told_at({"metadata": {"managedFields": entries}}) == micros(NINE)
    assert phase_told_at({"metadata": {}}) is None


@pytest.mark.parametrize("text", ["1970-01-01T00:00:00Z", "2026-03-01T09:00:00.000001Z", "1969-12-31T23:59:59.500000Z"])
def test_times_survive_the_way_in_and_out(text: str) -> None:
    assert rfc3339(micros(text)) == text


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        micros("2026-03-01T09:00:00")
