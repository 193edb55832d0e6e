"""A UserQuota goes when nothing was heard of its user for long, and never while it counts for anything."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubquota.cluster.api import OURS, Api, ApiError
from hubquota.cluster.expiry import Traces, delete, has_expired
from hubquota.cluster.members import read
from hubquota.cluster.policies import longest_window
from hubquota.domain.history import HowEnded, PodEnd, PodRecord, SegmentRecord
from hubquota.domain.measure import Measure
from hubquota.domain.metering import Meter
from hubquota.domain.policy import Policy, Scope
from hubquota.domain.windows import DAY, Rolling
from tests.cluster.test_operator import POLICY, Bench, ago, eventually
from tests.testbed.control_plane import ControlPlane

NOW = 1000 * DAY


@pytest.mark.parametrize(
    ("traces", "gone"),
    [
        (Traces(NOW - 31 * DAY, None, None), True),
        (Traces(NOW - 30 * DAY, None, None), False),
        (Traces(NOW - 29 * DAY, None, None), False),
        (Traces(NOW - 400 * DAY, NOW - 29 * DAY, None), False),
        (Traces(NOW - 400 * DAY, NOW - 31 * DAY, NOW - 31 * DAY), True),
        (Traces(NOW - 400 * DAY, None, NOW - 29 * DAY), False),
        (Traces(NOW - 400 * DAY, None, NOW), False),
    ],
    ids=["made long ago", "made thirty days ago", "made lately", "seen lately", "used long ago", "used lately", "busy"],
)
def test_thirty_days_without_a_trace(traces: Traces, gone: bool) -> None:
    assert has_expired(traces, 7 * DAY, 30 * DAY, NOW) is gone


def test_usage_in_the_longest_window_keeps_it_however_short_the_retention() -> None:
    traces = Traces(NOW - 400 * DAY, None, NOW - 90 * DAY)
    assert not has_expired(traces, 90 * DAY, DAY, NOW)
    assert has_expired(traces, 89 * DAY, DAY, NOW)


@given(st.integers(0, 900), st.integers(0, 900) | st.none(), st.integers(0, 400), st.integers(1, 400))
def test_whoever_is_using_something_stays(created: int, observed: int | None, window: int, retention: int) -> None:
    assert not has_expired(Traces(created, observed, NOW), window * DAY, retention * DAY, NOW)


def test_the_longest_window_is_that_of_the_policies() -> None:
    weekly = Policy("w", Scope(everyone=True), Measure("memory"), 1, "GiB-hours", Rolling(7 * DAY))
    at_once = Policy("s", Scope(everyone=True), Measure("servers"), 1, "servers", None)
    assert (longest_window([]), longest_window([at_once]), longest_window([at_once, weekly])) == (0, 0, 7 * DAY)


def test_the_meter_knows_when_a_user_last_held_something() -> None:
    def pod(uid: str, end: int | None) -> PodRecord:
        ended = None if end is None else PodEnd(end, HowEnded.CONTAINERS)
        held = (SegmentRecord("memory", 1, None, 0, end),)
        return PodRecord(
            uid=uid, cluster="c", hub="h", name=uid, user="a", server="", scheduled=0, first_seen=0, last_seen=0,
            end=ended, segments=held,
        )  # fmt: skip

    meter = Meter(0)
    assert meter.last_held("a", NOW) is None
    meter.take([pod("1", 5), pod("2", 3)])
    assert meter.last_held("a", NOW) == 5
    meter.expect("a", "3", "")
    assert meter.last_held("a", NOW) == NOW
    meter.drop("a", "3")
    meter.take([pod("4", None)])
    assert meter.last_held("a", NOW) == NOW


async def made(server: Api, namespace: str, user: str) -> dict[str, Any]:
    body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota", "metadata": {"name": user}}
    return await server.create(f"{OURS}/namespaces/{namespace}/userquotas", body | {"spec": {"user": user}})


@pytest.mark.cluster
async def test_a_launch_in_between_wins(server: Api, namespace: str) -> None:
    path = f"{OURS}/namespaces/{namespace}/userquotas"
    traces = Traces(0, None, None)
    seen = read(await made(server, namespace, "alice"))
    await server.patch(f"{path}/alice", {"spec": {"groupsObservedAt": "2026-03-01T09:00:00Z"}})
    again = read(await made(server, namespace, "bob"))
    await server.delete(f"{path}/bob", {"uid": again.uid})
    await made(server, namespace, "bob")
    gone = read(await made(server, namespace, "carol"))
    assert await delete(server, path, [(seen, traces), (again, traces), (gone, traces)]) == 1
    assert [item["metadata"]["name"] async for item in server.listing(path)] == ["alice", "bob"]
    with pytest.raises(ApiError, match="404"):
        await server.get(f"{path}/carol")


@pytest.mark.cluster
def test_the_operator_deletes_those_who_are_gone_and_no_other(
    api: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    bench = Bench(api, namespace, tmp_path)
    bench.create(POLICY)
    bench.place("jupyter-alice", "alice", ago(3600))
    bench.place("jupyter-bob", "bob", ago(3600))
    bench.end("jupyter-bob", ago(600))
    body = {"apiVersion": "hubquota.dev/v1alpha1", "kind": "UserQuota"}
    bench.create(body | {"metadata": {"name": "zoe"}, "spec": {"user": "zoe"}})
    bench.create(body | {"metadata": {"name": "odd"}, "spec": {"user": "zoe"}})
    operator = bench.operator()
    operator.env = {**operator.env, "HUBQUOTA_USER_QUOTA_RETENTION": "2"}
    operator.start()
    try:
        eventually(lambda: "userquota=zoe deleted" in operator.last_words(100_000), operator)
        eventually(lambda: bench.used_seconds("alice") > 0 and bench.used_seconds("bob") > 0, operator)
        names = {item["metadata"]["name"] for item in bench.read("uq")["items"]}
        assert names == {"alice", "bob", "odd"}
        assert operator.last_words(100_000).count(" deleted: no usage") == 1
    finally:
        operator.stop()
