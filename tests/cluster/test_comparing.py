"""An audit compares the ledger with a real cluster, and is right while an operator writes."""

import asyncio
import json
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Executable, delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.cluster.api import Api
from hubquota.cluster.comparing import Compared, Comparison
from hubquota.cluster.observing import Sight, observed
from hubquota.domain.history import HowEnded, PodEnd, PodRecord, PolicyRevision
from hubquota.domain.pods import micros
from hubquota.domain.windows import SECOND
from hubquota.ledger import Ledger
from hubquota.ledger.auditing.findings import Finding, Kind
from hubquota.ledger.auditing.inside import audit
from hubquota.ledger.auditing.repairing import repair
from hubquota.ledger.tables import memberships, pods, segments
from tests.cluster.rows import Rows
from tests.cluster.test_operator import HUBQUOTA, POLICY, Bench, ago, eventually
from tests.testbed.control_plane import ControlPlane
from tests.testbed.patience import PATIENCE
from tests.testbed.processes import Program

pytestmark = pytest.mark.cluster


def now() -> int:
    return time.time_ns() // 1000


@pytest.fixture
def bench(api: ControlPlane, namespace: str, tmp_path: Path) -> Bench:
    return Bench(api, namespace, tmp_path)


@pytest.fixture
async def ledger(bench: Bench) -> AsyncIterator[Ledger]:
    """The ledger of the bench's operators."""
    async with await Ledger.open(f"sqlite:///{bench.folder}/ledger.db") as opened:
        await opened.covered_since(bench.namespace, 0)
        yield opened


class Auditor:
    """Looks at one hub and its ledger."""

    def __init__(self, api: Api, ledger: Ledger, hub: str) -> None:
        self.api, self.ledger, self.hub = api, ledger, hub

    async def heard(self) -> None:
        """Have the ledger know what the cluster says now."""
        listed = [pod async for pod in self.api.listing(f"/api/v1/namespaces/{self.hub}/pods")]
        records = [observed(Sight(pod, now()), "default") for pod in listed]
        await self.ledger.record([r for r in records if r is not None])

    async def looked(self, grace: int = 0, settle: float = 0) -> Compared:
        return await Comparison(self.api, self.ledger, self.hub, now, grace, settle).made()

    async def found(self) -> list[tuple[str, Kind]]:
        return [(f.name, f.kind) for f in (await self.looked()).found]

    async def mended(self) -> list[Finding]:
        """What is still found after a repair."""
        await repair(self.ledger, (await self.looked()).found, now(), "ann")
        assert await audit(self.ledger) == []
        return (await self.looked()).found

    async def broken(self, *statements: Executable) -> None:
        async def work(connection: AsyncConnection) -> None:
            for statement in statements:
                await connection.execute(statement)

        await self.ledger.writing(work)


class Counting(Api):
    """Counts the listings that were begun."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self.listings = 0

    def listing(self, path: str, **query: str) -> AsyncIterator[dict[str, Any]]:
        self.listings += 1
        return self._api.listing(path, **query)


class Overtaken(Api):
    """Lets something happen after each listing of pods, before its listener has gone on."""

    def __init__(self, api: Api, happens: Callable[[], Awaitable[None]]) -> None:
        self._api, self._happens = api, happens

    async def listing(self, path: str, **query: str) -> AsyncIterator[dict[str, Any]]:
        async for item in self._api.listing(path, **query):
            yield item
        if path.endswith("/pods"):
            await self._happens()


@pytest.fixture
def auditor(server: Api, ledger: Ledger, namespace: str) -> Auditor:
    return Auditor(server, ledger, namespace)


async def test_each_difference_is_told_once_and_mended_where_somebody_knows_better(
    bench: Bench, auditor: Auditor, ledger: Ledger
) -> None:
    for name in ("owner", "early", "late", "open", "ended", "resized", "lacking", "same", "finished"):
        bench.place(name, "alice", ago(600))
    for name in ("ended", "open", "finished"):
        bench.end(name, ago(300))
    await auditor.heard()
    assert await auditor.found() == []
    gone = {name: pods.c.name == name for name in ("owner", "early", "late", "open", "ended", "lacking")}
    [uid] = [p.uid for p in await ledger.open_pods(auditor.hub) if p.name == "resized"]
    await auditor.broken(
        update(pods).where(gone["owner"]).values(user="bob"),
        update(pods).where(gone["early"]).values(scheduled=pods.c.scheduled - 5 * SECOND),
        update(pods).where(gone["late"]).values(scheduled=pods.c.scheduled + 5 * SECOND),
        update(pods).where(gone["open"]).values(finished=None, how_ended=None, digest=None),
        update(pods).where(gone["ended"]).values(finished=pods.c.finished + SECOND),
        update(segments).where(segments.c.uid == uid).values(request=7),
        delete(pods).where(gone["lacking"]),
    )
    assert sorted(await auditor.found()) == [
        ("early", Kind.START),
        ("ended", Kind.END),
        ("lacking", Kind.MISSING_POD),
        ("late", Kind.START),
        ("open", Kind.END),
        ("owner", Kind.OWNER),
        ("resized", Kind.ALLOCATION),
    ]
    left = await repair(ledger, (await auditor.looked()).found, now(), "ann")
    assert sorted(f.name for f in left.left) == ["early", "ended", "owner"]
    assert sorted(name for name, _ in await auditor.found()) == ["early", "ended", "owner"]


async def test_a_pod_that_is_gone_ends_when_it_was_last_seen_and_by_when_it_was_missed(
    bench: Bench, auditor: Auditor, ledger: Ledger
) -> None:
    bench.place("jupyter-alice", "alice", ago(600))
    await auditor.heard()
    [before] = await ledger.open_pods(auditor.hub)
    bench.do("delete", "pod", "jupyter-alice", "--grace-period=0", "--force")
    assert await auditor.found() == [("jupyter-alice", Kind.GONE_POD)]
    asked = now()
    assert await auditor.mended() == []
    [known] = await ledger.pods_of(auditor.hub, "alice", 0)
    assert known.end is not None
    assert known.end.bound is not None
    assert known.end == PodEnd(before.last_seen, HowEnded.LAST_SEEN, known.end.bound)
    assert asked <= known.end.bound <= now()


async def test_policies_that_were_deleted_or_made_unseen_are_told_and_noted(
    bench: Bench, auditor: Auditor, ledger: Ledger
) -> None:
    bench.create(POLICY)
    await ledger.record_policy_revision(PolicyRevision("old", auditor.hub, "gone", 1, {}, 100))
    assert await auditor.found() == [("gone", Kind.GONE_POLICY), ("weekly", Kind.MISSING_POLICY)]
    assert await auditor.mended() == []
    gone, weekly = await ledger.policy_revisions(auditor.hub)
    assert (gone.end is not None, weekly.end, weekly.spec["limit"]) == (True, None, POLICY["spec"]["limit"])


async def test_what_an_operator_may_not_have_had_time_for_is_told_apart(bench: Bench, auditor: Auditor) -> None:
    bench.place("old", "alice", ago(600))
    await auditor.heard()
    bench.do("delete", "pod", "old", "--grace-period=0", "--force")
    bench.place("new", "alice", ago(1))
    looked = await auditor.looked(grace=60 * SECOND)
    assert (looked.found, sorted(f.name for f in looked.young)) == ([], ["new", "old"])


async def test_what_goes_while_it_is_looked_at_is_not_told(bench: Bench, auditor: Auditor) -> None:
    bench.place("jupyter-alice", "alice", ago(600))
    listing, auditor.api = auditor.api, Counting(auditor.api)
    looking = asyncio.create_task(auditor.looked(settle=60))
    async with asyncio.timeout(PATIENCE):
        while auditor.api.listings < 6:  # two looks at pods and policies are over, and a third one has begun
            await asyncio.sleep(0.01)
    auditor.api = listing
    await auditor.heard()
    looked = await looking
    assert (looked.found, looked.young) == ([], [])


async def test_a_ledger_that_is_ahead_of_the_listing_is_not_wrong(
    bench: Bench, auditor: Auditor, ledger: Ledger
) -> None:
    for name in ("first", "second"):
        bench.place(name, "alice", ago(600))
    await auditor.heard()

    async def one_ends() -> None:
        [pod, *_] = sorted(await ledger.open_pods(auditor.hub), key=lambda p: p.name)
        await ledger.record([replace(pod, end=PodEnd(now(), HowEnded.DELETED), last_seen=now())])

    auditor.api = Overtaken(auditor.api, one_ends)
    ends = [(f.name, f.kind) for f in (await auditor.looked()).found]
    assert ends == [("first", Kind.END)], "the second ended after the second listing"


async def test_a_pod_that_nobody_can_make_sense_of_is_told_and_is_no_difference(bench: Bench, auditor: Auditor) -> None:
    bench.place("poison", "alice", ago(600))
    bench.do("annotate", "pod", "poison", "hubquota.dev/groups={")
    looked = await auditor.looked()
    assert looked.found == []
    assert ["poison is not metered" in why for why in looked.set_aside] == [True]


def verified(bench: Bench, *args: str) -> tuple[int, dict[str, Any]]:
    """What ``hubquota ledger verify`` says with the operator's own account."""
    command = [str(HUBQUOTA), "ledger", "verify", "--output", "json", *args]
    env = bench.operator().env
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout or "{}") | {"errors": done.stderr}


def stirred(bench: Bench, enough: threading.Event) -> None:
    """Pods come, end and go, until it is enough."""
    for i in takewhile(lambda _: not enough.is_set(), count()):
        bench.place(f"jupyter-{i}", f"user-{i % 3}", ago(2))
        if i % 3 == 0:
            bench.end(f"jupyter-{i}", ago(1))
        if i > 3:
            bench.do("delete", "pod", f"jupyter-{i - 3}", "--grace-period=0", "--force")


async def held(bench: Bench, operator: Program, name: str) -> PodRecord:
    """A pod that goes on, once the ledger has it."""
    return await asyncio.to_thread(Rows(bench.database, bench.namespace, operator).open, name)


async def test_an_audit_is_right_while_an_operator_writes(bench: Bench, auditor: Auditor, ledger: Ledger) -> None:
    bench.create(POLICY)
    operator = bench.operator()
    operator.start()
    try:
        eventually(lambda: "is served" in operator.last_words(100_000), operator)
        enough = threading.Event()
        stirring = asyncio.create_task(asyncio.to_thread(stirred, bench, enough))
        try:
            for _ in range(3):
                code, told = await asyncio.to_thread(verified, bench, "--grace", "0", "--wait", "20")
                assert (code, told["differences"], told["young"]) == (0, [], []), told
        finally:
            enough.set()
            await stirring
        bench.place("jupyter-stays", "alice", ago(2))
        stays = await held(bench, operator, "jupyter-stays")
        await auditor.broken(update(pods).where(pods.c.uid == stays.uid).values(user="mallory"))
        code, told = await asyncio.to_thread(verified, bench, "--wait", "2")
        assert code == 1
        assert [(d["kind"], d["name"]) for d in told["differences"]] == [("Owner", "jupyter-stays")]
    finally:
        operator.stop()


async def test_a_repair_beside_an_operator_leaves_nothing_that_either_would_undo(
    bench: Bench, auditor: Auditor, ledger: Ledger
) -> None:
    operator = bench.operator()
    operator.start()
    try:
        eventually(lambda: "is served" in operator.last_words(100_000), operator)
        bench.place("jupyter-alice", "alice", ago(600))
        known = await held(bench, operator, "jupyter-alice")
        await auditor.broken(delete(pods).where(pods.c.uid == known.uid))
        command = [str(HUBQUOTA), "ledger", "repair", "--grace", "0", "--wait", "0", "--by", "ann"]
        repairing = Program("repair", command, bench.folder / "repair.log", bench.operator().env)
        repairing.start()
        for i in range(20, 26):
            bench.place(f"jupyter-{i}", "bob", ago(2))
        eventually(lambda: not repairing.running, operator)
        eventually(lambda: len(bench.status("bob").get("running", [])) == 6, operator)
        again = [p for p in await ledger.open_pods(auditor.hub) if p.name == "jupyter-alice"]
        assert [(p.uid, p.scheduled, p.segments) for p in again] == [(known.uid, known.scheduled, known.segments)]
        assert verified(bench, "--grace", "0", "--wait", "20")[0] == 0
    finally:
        operator.stop()


async def test_exit_codes_tell_differences_from_not_having_looked(
    bench: Bench, auditor: Auditor, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert verified(bench)[0] == 0
    assert verified(bench, "--hub", "other")[0] == 2
    await auditor.broken(
        memberships.insert().values(cluster="default", hub=auditor.hub, user="a", group="g", start=1, end=None)
    )
    code, told = verified(bench, "--offline")
    assert (code, [d["kind"] for d in told["differences"]]) == (1, ["Orphan"])
    await ledger.covered_since("elsewhere", micros(ago(0)))
    code, told = verified(bench)  # the operator's account may not look into that namespace
    assert (code, "the cluster cannot be looked at" in told["errors"]) == (2, True)
