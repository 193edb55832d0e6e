"""What a launch asks for is read as the scheduler counts it, whichever way an admin writes it."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hubquota_hook as hook
from hubquota.domain.quantities import parse_quantity
from tests.hub.api_server import spawner

GIB = 2**30


def container(**resources: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"name": "other", "resources": resources}


def asked(**more: Any) -> dict[str, int]:  # noqa: ANN401
    return hook.requested(spawner(**{"mem_guarantee": None} | more))


def test_a_limit_is_a_request_where_there_is_none_and_not_else() -> None:
    assert asked(mem_limit=GIB, cpu_limit=2.0) == {"memory": GIB, "cpu": 2000}
    assert asked(mem_limit=4 * GIB, mem_guarantee=GIB, cpu_guarantee=0.1, cpu_limit=8) == {"memory": GIB, "cpu": 100}
    assert asked() == {}


def test_extended_resources_are_taken_in_every_form_that_kubernetes_has() -> None:
    extra = {"nvidia.com/gpu": "1", "ephemeral-storage": "10Gi", "example.com/milli": "1500m", "example.com/n": 2}
    assert asked(extra_resource_limits=extra, extra_resource_guarantees={"ephemeral-storage": "1e3"}) == {
        "nvidia.com/gpu": 1000,
        "ephemeral-storage": 1_000_000,
        "example.com/milli": 1500,
        "example.com/n": 2000,
    }


def test_what_extra_resources_say_of_memory_and_cpu_outranks_the_rest() -> None:
    extra = {"memory": "2Gi", "cpu": "250m"}
    assert asked(mem_guarantee=GIB, cpu_guarantee=4, extra_resource_guarantees=extra) == {"memory": 2 * GIB, "cpu": 250}


@pytest.mark.parametrize("by_key", [True, False])
def test_containers_beside_the_server_are_added_and_one_before_it_counts_where_it_asks_for_more(by_key: bool) -> None:
    beside = container(requests={"memory": "512Mi"}, limits={"memory": "1Gi", "nvidia.com/gpu": "1"})
    before = container(requests={"cpu": "3", "memory": "1Mi"})
    restarted = container(requests={"memory": "256Mi"}) | {"restartPolicy": "Always"}
    inits, extra = [restarted, before, {"name": "block-cloud-metadata"}], [beside, "no container"]
    given: Any = ({f"{n}": c for n, c in enumerate(listed)} if by_key else listed for listed in (inits, extra))
    first, second = given
    assert asked(mem_guarantee=GIB, cpu_guarantee=1, init_containers=first, extra_containers=second) == {
        "memory": GIB + 768 * 2**20,
        "cpu": 3000,
        "nvidia.com/gpu": 1000,
    }


suffixes = st.sampled_from(["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3"])


@given(st.decimals(0, 7, allow_nan=False, places=3), suffixes)
def test_hook_and_operator_read_a_quantity_alike(value: Decimal, suffix: str) -> None:
    assert hook.quantity(f"{value:f}{suffix}", 1000) == math.ceil(parse_quantity(f"{value:f}{suffix}") * 1000)


@pytest.mark.parametrize("wrong", ["", "1 Gi", "ten", "1gi", "nan", "1e999999999", "9" * 5000, "１", [1]])
def test_what_is_no_quantity_is_told_with_one_that_is(wrong: object) -> None:
    with pytest.raises(ValueError, match="is no quantity of Kubernetes: write one such as 1, 500m or 10Gi") as fault:
        hook.quantity(wrong)
    assert len(str(fault.value)) < 200
