"""Of more groups than fit those stay that policies name, always the same, and the hub's loop goes on meanwhile."""

import asyncio
import json
import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hubquota_hook as hook
from hubquota.resources.user_quota import UserQuotaSpec
from tests.hub.api_server import FakeApi, known, serving, spawner

NAMES = [f"g{number:06}" for number in range(1000)]


async def kept(names: list[str], *named: str) -> list[str]:
    return await hook.kept_groups(names, frozenset(named))


async def test_as_many_as_fit_are_all_kept_in_order() -> None:
    assert await kept(["b", "a", "É"]) == ["a", "b", "É"]
    assert await kept(NAMES[:256]) == NAMES[:256]


async def test_those_that_policies_name_come_before_all_others() -> None:
    assert await kept(NAMES, "g000999", "g000500", "elsewhere") == [*NAMES[:254], "g000500", "g000999"]


async def test_of_too_many_that_policies_name_the_first_are_kept() -> None:
    assert await kept(NAMES, *NAMES[300:700]) == NAMES[300:556]


@given(st.integers(0, 2**32))
def test_their_order_in_the_hub_changes_nothing(seed: int) -> None:
    shuffled = random.Random(seed).sample(NAMES * 3, 3000)
    assert asyncio.run(kept(sorted(set(shuffled)), "g000998")) == asyncio.run(kept(NAMES, "g000998"))
    assert asyncio.run(kept(shuffled[:1000], "g000998")) == asyncio.run(kept(sorted(shuffled[:1000]), "g000998"))


async def test_a_name_that_no_policy_can_hold_is_left_out() -> None:
    assert await kept(["", "x" * 256, "a\0", "x" * 255, "a"]) == ["a", "x" * 255]


@pytest.mark.parametrize("letter", ["😀", "\x01"])
async def test_whatever_the_names_they_fit_on_a_pod_and_in_a_user_quota(letter: str) -> None:
    names = [letter * 252 + f"{number:03}" for number in range(600)]
    told = await kept(names, names[599])
    assert names[599] in told
    assert len(json.dumps(told, ensure_ascii=False).encode()) < 200_000
    UserQuotaSpec.model_validate({"user": "a", "groups": told})


async def test_with_a_million_groups_the_hub_goes_on_meanwhile() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    group = SimpleNamespace(name="staff")
    task = asyncio.create_task(others())
    names = await hook.names_of([group] * 1_000_000)
    after_reading = turns
    told = await kept([f"g{number % 5000:05}" for number in range(1_000_000)], "g04999")
    task.cancel()
    assert len(names) == 1_000_000
    assert "g04999" in told
    assert after_reading >= 1000
    assert turns - after_reading >= 1000


async def test_a_launch_by_somebody_in_a_million_groups_lets_the_hub_go_on_and_marks_the_pod_with_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, api = 0, FakeApi()
    api.quotas["alice"] = known()

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serving(api, monkeypatch):
        starting = spawner()
        starting.user.groups = [SimpleNamespace(name="<b>" + "g" * 200)] * 1_000_000
        task = asyncio.create_task(others())
        await hook.Gate(hook.HubQuota(timeout=600), None).pre_spawn(starting)
        task.cancel()
    marks = (await starting.modify_pod_hook(starting, {}))["metadata"]["annotations"]
    assert turns >= 3000
    assert len(marks["hubquota.dev/groups"]) < 200_000


def test_a_policy_that_is_not_applied_makes_no_first_launch_wait() -> None:
    spec = {"scope": {"everyone": True}, "sharing": "Shared", "limit": {"value": 1, "unit": "GiB-hours"}}
    ready = {"type": "Ready", "status": "False", "reason": "TooManyPolicies"}
    told = {"observedGeneration": 2, "conditions": [ready]}
    fresh = {"metadata": {"generation": 2}, "spec": spec}
    assert hook._matters(fresh, "alice", [])
    assert not hook._matters(fresh | {"status": told}, "alice", [])
    assert hook._matters(fresh | {"status": told, "metadata": {"generation": 3}}, "alice", [])
    broken = {"metadata": {"generation": 2}, "spec": {"scope": 3}, "status": told}
    assert not hook._matters(broken, "alice", [])
    assert list(hook._groups_of(broken)) == []
