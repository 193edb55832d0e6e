"""A pod holds exactly what the scheduler's own code counts for it, whatever it is made of."""

from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubquota.domain.pods import allocation
from tests.testbed.oracle import Oracle

pytestmark = pytest.mark.oracle

examples: Final = settings(max_examples=600, deadline=None)
_CPU: Final = ["0", "1", "2", "250m", "1500m", "0.3", "1e1"]
_MEMORY: Final = ["0", "1", "512Mi", "1.5Gi", "1G", "700k", "1e9"]
#: The API server rounds these up when it stores them, so only a stored pod tells what they come to.
_TINY: Final = ["1n", "1500u", "1m", "0.0001", "1.0001"]

Resources = dict[str, str]


def amounts(cpu: list[str], memory: list[str]) -> st.SearchStrategy[Resources]:
    return st.fixed_dictionaries(
        {},
        optional={
            "cpu": st.sampled_from(cpu),
            "memory": st.sampled_from(memory),
            "nvidia.com/gpu": st.sampled_from(["0", "1", "2"]),
            "ephemeral-storage": st.just("1Gi"),
            "hugepages-2Mi": st.just("4Mi"),
        },
    )


plain = amounts(_CPU, _MEMORY)
fine = amounts(_CPU + _TINY, _MEMORY + _TINY)


def asked(of: st.SearchStrategy[Resources]) -> st.SearchStrategy[dict[str, Resources]]:
    return st.fixed_dictionaries({}, optional={"requests": of, "limits": of})


@st.composite
def specs(draw: st.DrawFn, of: st.SearchStrategy[Resources]) -> dict[str, Any]:
    """Up to three containers, up to four init containers of which any may be a sidecar, and what a pod asks for."""
    running = draw(st.lists(asked(of), min_size=1, max_size=3))
    starting = draw(st.lists(st.tuples(asked(of), st.sampled_from([{}, {"restartPolicy": "Always"}])), max_size=4))
    whole = draw(st.fixed_dictionaries({}, optional={"resources": asked(of), "overhead": of}))
    return {
        "containers": [{"name": f"c{i}", "resources": resources} for i, resources in enumerate(running)],
        "initContainers": [{"name": f"i{i}", "resources": r} | policy for i, (r, policy) in enumerate(starting)],
    } | whole


@st.composite
def statuses(draw: st.DrawFn, containers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a kubelet might say of some of the containers, before, during and after a resize."""
    said = st.fixed_dictionaries({}, optional={"resources": asked(fine), "allocatedResources": fine})
    told = [{"name": c["name"]} | draw(said) for c in containers if draw(st.booleans())]
    return draw(st.permutations(told))


def condition(kind: str, reason: str, status: str = "True") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason}


conditions = st.lists(
    st.sampled_from(
        [
            condition("PodScheduled", ""),
            condition("PodResizePending", "Infeasible"),
            condition("PodResizePending", "Infeasible", "False"),
            condition("PodResizePending", "Deferred"),
            condition("PodResizeInProgress", "Error"),
            condition("PodResizeInProgress", "Infeasible"),
        ]
    ),
    max_size=3,
)


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    spec = draw(specs(fine))
    status = {
        "conditions": draw(conditions),
        "containerStatuses": draw(statuses(spec["containers"])),
        "initContainerStatuses": draw(statuses(spec["initContainers"])),
    }
    return {"spec": spec, "status": status}


def counted(requests: dict[str, int]) -> dict[str, int]:
    """Without what no quota counts."""
    return {r: units for r, units in requests.items() if r not in ("ephemeral-storage", "hugepages-2Mi")}


@examples
@given(pods())
def test_a_stored_pod_holds_what_the_scheduler_counts(oracle: Oracle, pod: dict[str, Any]) -> None:
    told = oracle.pod(pod)
    assert allocation(told.stored) == counted(told.requests)


@examples
@given(specs(plain))
def test_a_pod_that_is_yet_to_be_stored_holds_the_same(oracle: Oracle, spec: dict[str, Any]) -> None:
    assert allocation({"spec": spec}) == counted(oracle.pod({"spec": spec}).requests)
