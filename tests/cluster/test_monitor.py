"""The final check ends what is gone and nobody saw go, and never a pod that lives, however quiet the cluster."""

import asyncio
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubquota.domain.history import PodRecord
from hubquota.domain.pods import micros
from hubquota.domain.windows import SECOND
from hubquota.ledger import Ledger
from tests.cluster.test_caps import Watched
from tests.cluster.test_operator import HUBQUOTA, POLICY, Bench, ago, eventually
from tests.ledger.pods import pod
from tests.testbed.control_plane import ControlPlane
from tests.testbed.postgres import Postgres
from tests.testbed.processes import Program, free_port

pytestmark = [pytest.mark.cluster]


class Monitored(Bench):
    """A bench whose ledger was filled by an operator that runs no more."""

    def begin(self) -> None:
        self.create(POLICY)
        program = self.operator()
        program.env = {**program.env, "HUBQUOTA_RESYNC_INTERVAL": "5"}
        program.start()
        for user in ("alice", "bob"):
            self.place(f"jupyter-{user}", user, ago(900))
        eventually(lambda: all(self.used_seconds(user) > 0 for user in ("alice", "bob")), program)
        eventually(lambda: self.rows().keys() == {"jupyter-alice", "jupyter-bob"}, program)
        self.killed(program)
        self.env = program.env
        self.do("delete", "pod", "jupyter-alice", "--grace-period=0", "--force")

    def monitor(self, *args: str, **env: str) -> Program:
        told = {f"HUBQUOTA_{name.upper()}": value for name, value in env.items()}
        return Program("monitor", [str(HUBQUOTA), "monitor", *args], self.folder / "monitor.log", {**self.env, **told})

    def once(self) -> "subprocess.CompletedProcess[str]":
        """Look once; nobody has seen any pod for as long as it takes."""
        made = self.monitor("--once")
        return subprocess.run(
            made.command, env={**os.environ, **made.env}, capture_output=True, text=True, timeout=60, check=False
        )

    def rows(self) -> dict[str, PodRecord]:
        async def read() -> dict[str, PodRecord]:
            async with await Ledger.open(self.database) as ledger:
                return {pod.name: pod async for pod in ledger.pods_since(self.namespace, 0)}

        return asyncio.run(read())


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path, postgres: Postgres) -> Iterator[Monitored]:
    url = postgres.database()
    found = Monitored(api, namespace, tmp_path, url)
    found.begin()
    yield found
    postgres.drop(url)


@pytest.mark.postgresql
def test_a_row_whose_pod_is_gone_is_ended_and_one_whose_pod_lives_is_not(bench: Monitored) -> None:
    program = bench.monitor(monitor_interval="5", metrics_port=str(port := free_port()))
    program.start()
    try:
        # Not before it was missed by three listings of an operator.
        eventually(lambda: bench.rows()["jupyter-alice"].end is not None, program)
        gone, alive = (bench.rows()[f"jupyter-{user}"] for user in ("alice", "bob"))
        assert gone.end is not None
        assert gone.end.bound is not None
        assert gone.end.at == gone.last_seen
        assert alive.end is None
        counted = f'hubquota_monitor_ended_total{{hub="{bench.namespace}"}} 1.0'
        eventually(lambda: counted in answer_of(port, "metrics"), program)
        eventually(lambda: answer_of(port, "readyz") == "ok\n", program)
    finally:
        program.stop()
    # It is right, and stays so, when an operator comes back.
    operator = bench.operator()
    operator.start()
    try:
        eventually(lambda: bench.status("alice").get("running", []) == [], operator)
        assert [r["pod"] for r in bench.status("bob")["running"]] == ["jupyter-bob"]
    finally:
        operator.stop()


@pytest.mark.postgresql
def test_where_the_api_server_cannot_be_asked_nothing_is_ended_and_it_fails(
    bench: Monitored, api: ControlPlane
) -> None:
    bench.env = {**bench.env, "HUBQUOTA_RESYNC_INTERVAL": "5", "HUBQUOTA_REQUEST_TIMEOUT": "1"}
    config = json.loads(Path(bench.env["KUBECONFIG"]).read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{free_port()}"
    (broken := bench.folder / "broken.kubeconfig").write_text(json.dumps(config))
    bench.env = {**bench.env, "KUBECONFIG": str(broken)}
    done = bench.once()
    assert done.returncode == 1
    assert f"hub {bench.namespace}: GET /api/v1/namespaces/{bench.namespace}/pods" in done.stderr
    assert all(pod.end is None for pod in bench.rows().values())


@pytest.mark.postgresql
def test_pods_that_an_operator_has_just_seen_are_left_to_it(bench: Monitored) -> None:
    bench.env = {**bench.env, "HUBQUOTA_RESYNC_INTERVAL": "600"}
    assert bench.once().returncode == 0
    assert bench.rows()["jupyter-alice"].end is None


def answer_of(port: int, path: str) -> str:
    """What it answers; empty: it does not, or has not looked yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


async def noted(bench: Bench, seen: PodRecord) -> None:
    async with await Ledger.open(bench.database) as ledger:
        await ledger.record([seen])


def test_a_ledger_on_sqlite_is_checked_by_its_operator_instead(
    api: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    bench = Watched(api, namespace, tmp_path)
    bench.create(POLICY)
    program = bench.started(monitor_interval=5, resync_interval=5)
    try:
        eventually(lambda: bench.metric("heartbeat_timestamp_seconds") > 0, program)
        seen = micros(ago(1800))
        start = seen - 1800 * SECOND
        asyncio.run(noted(bench, pod("ghost", seen, hub=namespace, user="ghost", scheduled=start)))
        eventually(lambda: abs(bench.used_seconds("ghost") - 1800) < 0.01, program)
        assert bench.status("ghost").get("running", []) == []
        done = subprocess.run(
            [str(HUBQUOTA), "monitor", "--once"],
            env={"PATH": "", **program.env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1
        assert "an SQLite ledger has one process: its operator makes this check itself" in done.stderr
    finally:
        program.stop()
