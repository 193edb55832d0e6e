"""An operator that starts after the ledger was changed by an admin tells everybody what is so now."""

import subprocess
from pathlib import Path

import pytest

from hubquota.domain.history import HowEnded, PodEnd
from hubquota.ledger import Ledger
from tests.cluster.test_operator import HUBQUOTA, POLICY, Bench, ago, eventually
from tests.ledger.pods import holding, pod
from tests.testbed.control_plane import ControlPlane

pytestmark = pytest.mark.cluster


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Bench:
    made = Bench(api, namespace, tmp_path)
    made.create(POLICY)
    return made


def hubquota(bench: Bench, *args: str) -> str:
    command = [str(HUBQUOTA), "ledger", *args]
    done = subprocess.run(command, env=bench.operator().env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def users(bench: Bench) -> set[str]:
    return {item["spec"]["user"] for item in bench.read("uq")["items"]}


def test_after_a_rename_the_new_name_stands_where_the_old_one_stood(bench: Bench) -> None:
    operator = bench.operator()
    bench.place("jupyter-alice", "alice", ago(3700))
    bench.end("jupyter-alice", ago(100))
    bench.place("jupyter-alice--two", "alice", ago(50))
    operator.start()
    try:
        eventually(lambda: bench.used_seconds("alice") > 3640, operator)
        told = hubquota(bench, "rename", "--hub", bench.namespace, "alice", "bob")
        assert "“alice” of" in told
        operator.stop()
        bench.do("delete", "uq", "alice")
        operator.start()
        eventually(lambda: bench.used_seconds("bob") > 3640, operator)
        # The server that still runs says alice, and is bob's.
        assert [r["pod"] for r in bench.status("bob")["running"]] == ["jupyter-alice--two"]
        assert users(bench) == {"bob"}
        assert "no differences in" in hubquota(bench, "verify", "--grace", "0")
    finally:
        operator.stop()


def test_after_a_user_is_forgotten_no_object_and_no_row_has_the_name(bench: Bench) -> None:
    operator = bench.operator()
    bench.place("jupyter-alice", "alice", ago(3700))
    operator.start()
    try:
        eventually(lambda: bench.used_seconds("alice") > 3640, operator)
        operator.stop()
        bench.do("delete", "uq", "alice")
        told = hubquota(bench, "forget", "--hub", bench.namespace, "--force", "alice")
        assert "is forgotten: 1 pods" in told
        operator.start()
        eventually(lambda: len(users(bench)) == 1, operator)
        # The pod runs on, and says alice; its ledger does not.
        assert "no differences in" in hubquota(bench, "verify", "--grace", "0")
        bench.do("delete", "pod", "jupyter-alice", "--grace-period=0", "--force")
        [pseudonym] = users(bench)
        eventually(lambda: bench.status(pseudonym).get("running") == [], operator)
        assert users(bench) == {pseudonym}
    finally:
        operator.stop()
    assert [f.name for f in bench.folder.glob("ledger.db*") if b"alice" in f.read_bytes()] == []


async def test_a_prune_beside_a_running_operator_changes_no_number(bench: Bench) -> None:
    day = 86_400 * 1_000_000
    async with await Ledger.open(f"sqlite:///{bench.folder}/ledger.db") as ledger:
        await ledger.covered_since(bench.namespace, 0)
        old = [
            pod(f"u{i}", i * day, hub=bench.namespace, scheduled=i * day - day,
                end=PodEnd(i * day, HowEnded.CONTAINERS), segments=holding(i * day - day, {"memory": 1}, i * day))
            for i in range(1, 1501)
        ]  # fmt: skip
        await ledger.record(old)
    bench.place("jupyter-alice", "alice", ago(3700))
    operator = bench.operator()
    operator.start()
    try:
        eventually(lambda: bench.used_seconds("alice") > 3640, operator)
        archive = bench.folder / "old.jsonl"
        told = hubquota(
            bench, "prune", "--hub", bench.namespace, "--before", "1974-01-01T00:00:00Z", "--archive", str(archive)
        )
        assert f"{bench.namespace}: deleted 1460 pods" in told
        bench.place("jupyter-bob", "bob", ago(200))
        eventually(lambda: bench.used_seconds("bob") > 199, operator)
        assert bench.used_seconds("alice") > 3640
        assert "no differences in" in hubquota(bench, "verify", "--grace", "0")
    finally:
        operator.stop()
    assert len(archive.read_text().splitlines()) == 1460
