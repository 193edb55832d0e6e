"""Who is forgotten leaves no trace of the name, and every number stays."""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kubespawner.slugs import escape_slug, multi_slug, safe_slug
from sqlalchemy import select, text, update

from hubquota.domain.history import (
    DecidingQuota,
    DecisionKind,
    DecisionRecord,
    HowEnded,
    Membership,
    PodEnd,
    PolicyRevision,
)
from hubquota.ledger import Ledger
from hubquota.ledger.auditing.findings import Finding, Kind
from hubquota.ledger.auditing.inside import audit
from hubquota.ledger.auditing.mending import TakeIn
from hubquota.ledger.auditing.repairing import repair
from hubquota.ledger.forgetting import CannotForget, Forgotten, forget
from hubquota.ledger.renaming import rename
from hubquota.ledger.spelling import Spellings
from hubquota.ledger.tables import adjustments, changes, decisions, metadata, pods, policy_revisions
from tests.auditing.conftest import Break, Rows
from tests.ledger.pods import pod, with_every_field

USERS = ["alice", "Alice.Müller@uni.edu", "a b\u202e", "ab" * 100, "x", "100%_me'; --"]
END = PodEnd(200, HowEnded.CONTAINERS)


async def gone(ledger: Ledger, user: str = "alice", *, force: bool = False) -> Forgotten:
    return await forget(ledger, "hub", user, force=force, at=1000, by="ann")


async def totals(ledger: Ledger) -> "Counter[tuple[str, str, tuple[str, ...], int, int | None]]":
    """What was held in each hub, by resource, by the groups that paid, and from when to when."""
    counted: Counter[tuple[str, str, tuple[str, ...], int, int | None]] = Counter()
    for hub in await ledger.hubs():
        async for p in ledger.pods_since(hub, -1):
            counted.update({(hub, s.resource, p.charged_groups, s.start, s.end): s.request for s in p.segments})
    return counted


async def fill(ledger: Ledger, break_it: Break, user: str) -> None:
    """A user who left traces everywhere, and another one beside."""
    slug, escaped = safe_slug(user), escape_slug(user)
    names = [f"jupyter-{slug}", f"jupyter-{multi_slug([user, 'gpu'])}", f"jupyter-{escaped}--gpu", "dask-worker-7"]
    for i, name in enumerate(names):
        more = {"server": ("", "gpu", "gpu", None)[i], "image": f"registry/{escaped}/img:1", "component_name": slug}
        seen = with_every_field(uid=f"u{i}", at=200, name=name, user=user, end=END, **more)
        await ledger.record([replace(seen, groups=("team",), chosen_group=None)])
    await ledger.record([pod("other", user="bob", name="jupyter-bob", groups=("team",))])
    for one in (user, "bob"):
        await ledger.record_membership(Membership("hub", one, frozenset({"team"}), 100))
        message = f"{one}: ask {user}"
        decision = DecisionRecord(
            f"d-{one == user}", "hub", one, "gpu", DecisionKind.REFUSED, 100, {}, (DecidingQuota("w"),), message
        )
        await ledger.record_decisions(decision)
    spec = {"scope": {"users": ["bob", user]}, "message": f"Ask {user}, please"}
    await ledger.record_policy_revision(PolicyRevision("p", "hub", "weekly", 1, spec, 100))
    told = {"id": "a", "cluster": "default", "hub": "hub", "user": user, "resource": "cpu", "amount": "1", "start": 1}
    told |= {"reason": f"asked for by {user}", "by": "ann", "source": "", "recorded": 1}
    await break_it(adjustments.insert().values(told))
    await break_it(update(pods).where(pods.c.uid == "u0").values(digest="?"))
    await rename(ledger, "hub", user, f"{user}2", merge=False, at=900, by="ann")
    await repair(ledger, await audit(ledger), 950, user)
    await rename(ledger, "hub", f"{user}2", user, merge=False, at=960, by=user)


async def everything(ledger: Ledger) -> str:
    """All that a dump of the database would hold, as it stands there."""
    async with ledger.reading() as connection:
        found = [str(tuple(row)) for t in metadata.sorted_tables for row in await connection.execute(select(t))]
    return "\n".join(found)


def traces(user: str, text: str) -> list[str]:
    """Where a text holds a spelling of the name as a word."""
    return [m.group() for s in _spelled(user) for m in re.finditer(rf"(?<![^\W_]){re.escape(s)}(?![^\W_])", text, re.I)]


def _spelled(user: str) -> set[str]:
    return {user, escape_slug(user), safe_slug(user), repr(user)[1:-1]}


@pytest.mark.parametrize("user", USERS, ids=lambda user: ascii(user)[:20])
async def test_nothing_tells_of_the_name_and_all_usage_stays(ledger: Ledger, break_it: Break, user: str) -> None:
    await fill(ledger, break_it, user)
    before, others = await totals(ledger), await ledger.pods_of("hub", "bob", 0)
    assert traces(user, await everything(ledger))
    done = await gone(ledger, user)
    assert done.left == ()
    assert done.changed["pods"] == 4
    assert traces(user, await everything(ledger)) == []
    assert await totals(ledger) == before
    assert await ledger.pods_of("hub", "bob", 0) == others
    assert await audit(ledger) == []


@pytest.mark.parametrize("user", ["alice-the-forgotten-one", "Zoë Ünlü"])
async def test_not_even_the_database_s_files_hold_the_name(
    url: str, ledger: Ledger, break_it: Break, user: str, tmp_path: Path
) -> None:
    await fill(ledger, break_it, user)
    await _left_behind(ledger, break_it, user)
    spelled = [s.encode() for s in (*_spelled(user), user.encode("unicode_escape").decode())]
    assert any(s in raw for s in spelled for raw in _files(tmp_path)) is url.startswith("sqlite")
    await gone(ledger, user)
    still = await ledger.tidy()
    # The files of PostgreSQL are not ours: what stays there is told.
    assert (still is None) is url.startswith("sqlite"), still
    assert [s for s in spelled for raw in _files(tmp_path) if s.lower() in raw.lower()] == []


async def _left_behind(ledger: Ledger, break_it: Break, user: str) -> None:
    """Pods that were deleted long ago, by a database that does not write over what it deletes."""
    await ledger.record([pod(f"p{i}", user=user, name=f"jupyter-{escape_slug(user)}-{i}") for i in range(300)])
    if ledger._engine.dialect.name == "sqlite":
        await break_it(text("PRAGMA secure_delete = OFF"))
    await break_it(pods.delete().where(pods.c.uid.like("p%")))


def _files(folder: Path) -> list[bytes]:
    return [file.read_bytes() for file in folder.glob("hubquota.db*")]


async def test_where_somebody_reads_the_ledger_it_is_told_what_still_has_to_be_done(url: str, ledger: Ledger) -> None:
    await ledger.record([pod(end=END, at=200)])
    if not url.startswith("sqlite"):
        return
    async with ledger.reading() as connection:
        await connection.exec_driver_sql("PRAGMA busy_timeout = 0")
    async with await Ledger.open(url) as other, other.reading() as connection:
        await connection.execute(select(pods))
        await gone(ledger)
        still = await ledger.tidy()
    assert still is not None
    assert "wal_checkpoint(TRUNCATE)" in still


async def test_a_pseudonym_tells_nothing_and_is_another_each_time(ledger: Ledger, rows: Rows) -> None:
    names = set()
    for uid in ("1", "2"):
        await ledger.record([pod(uid, end=END, at=200)])
        await gone(ledger)
        names |= {row["user"] for row in await rows(pods, "user")}
    assert len(names) == 2
    assert all(re.fullmatch("forgotten-[0-9a-f]{16}", name) for name in names)
    recorded = [(c["action"], c["what"], c["before"]) for c in await rows(changes)]
    assert {what for _, what, _ in recorded} == names
    assert {(action, before) for action, _, before in recorded} == {("forget", None)}


async def test_pods_and_servers_stay_apart(ledger: Ledger, rows: Rows) -> None:
    servers = ["", "mine", "mine", "other", None]
    await ledger.record([pod(f"u{i}", server=s, end=END, at=200) for i, s in enumerate(servers)])
    await gone(ledger)
    found = await rows(pods, "name", "server")
    assert len({row["name"] for row in found}) == 5
    assert [row["server"] for row in found] == ["", "server-1", "server-1", "server-2", None]


async def test_earlier_names_are_forgotten_too_unless_somebody_has_them_now(ledger: Ledger, rows: Rows) -> None:
    await ledger.record([pod(image="registry/alice:1", end=END, at=200)])
    message = "alice and zoe: no more"
    await ledger.record_decisions(DecisionRecord("d", "hub", "alice", "", DecisionKind.REFUSED, 1, {}, (), message))
    await rename(ledger, "hub", "alice", "zoe", merge=False, at=1, by="ann")
    await rename(ledger, "hub", "zoe", "carl", merge=False, at=2, by="ann")
    await ledger.record([pod("u2", user="zoe")])
    await gone(ledger, "carl")
    told = await everything(ledger)
    assert [name for name in ("alice", "carl") if name in told] == []
    assert {row["user"] for row in await rows(pods)} > {"zoe"}
    assert "zoe" not in str(await rows(changes))
    [decision] = await rows(decisions)
    assert re.fullmatch("forgotten-[0-9a-f]+ and zoe: no more", decision["message"])


async def test_the_record_of_a_repair_names_their_servers_no_more(ledger: Ledger, rows: Rows) -> None:
    lacking = pod(server="my-own", name="jupyter-x", end=END, at=200)
    finding = Finding(Kind.MISSING_POD, "hub", "u1", "jupyter-x", "'my-own' of 'jupyter-x'", TakeIn(lacking))
    await repair(ledger, [finding], 900, "ann")
    assert "my-own" in str(await rows(changes))
    await gone(ledger)
    told = str(await rows(changes))
    assert [word for word in ("my-own", "jupyter-x", "alice") if word in told] == []
    assert "'server-1'" in told


async def test_a_user_whose_pod_runs_is_forgotten_by_force_only(ledger: Ledger) -> None:
    await ledger.record([pod()])
    with pytest.raises(CannotForget, match=r"1 of their pods run \(jupyter-u1\): stop them first, or give --force"):
        await gone(ledger)
    assert [p.user for p in await ledger.open_pods("hub")] == ["alice"]
    await gone(ledger, force=True)
    # The operator sees the pod again, which still tells the name.
    [known] = await ledger.record([pod(at=300)])
    assert known.user is not None
    assert known.user.startswith("forgotten-")
    assert "alice" not in await everything(ledger)


async def test_a_name_that_nobody_has_is_told_so(ledger: Ledger) -> None:
    with pytest.raises(CannotForget, match="knows no user “alice”"):
        await gone(ledger)


async def test_other_words_are_left_alone_and_what_is_not_the_user_s_own_is_told(ledger: Ledger, rows: Rows) -> None:
    await ledger.covered_since("other", 0)
    await ledger.record(
        [
            pod("1", user="al", name="jupyter-al", image="al/alpine", groups=("al",), end=END, at=200),
            pod("2", user="alan", name="jupyter-alan", image="al/alpine"),
            pod("3", user="al", name="jupyter-al", hub="other"),
        ]
    )
    await ledger.record_policy_revision(PolicyRevision("p", "hub", "al-extra", 1, {"message": "all of al"}, 1))
    await ledger.record_decisions(
        DecisionRecord(
            "d", "hub", "alan", "", DecisionKind.REFUSED, 1, {"al": 1}, (DecidingQuota("al-extra"),), "al and alan"
        )
    )
    done = await gone(ledger, "al")
    assert done.left == (
        "pods.image (1)",
        "pods.digest (1)",
        "pod_groups.group (1)",
        "policy_revisions.name (1)",
        "decisions.request (1)",
        "decisions.quotas (1)",
    )
    first, second, third = await rows(pods)
    assert re.fullmatch("forgotten-.*/alpine", first["image"])
    assert (second["user"], second["name"], second["image"]) == ("alan", "jupyter-alan", "al/alpine")
    assert (third["user"], third["name"]) == ("al", "jupyter-al")
    assert re.fullmatch("all of forgotten-[0-9a-f]+", (await rows(policy_revisions))[0]["spec"]["message"])
    [told] = await rows(decisions)
    assert told["user"] == "alan"
    assert re.fullmatch("forgotten-[0-9a-f]+ and alan", told["message"])


@pytest.mark.parametrize("user", [*USERS, "J--D", "-x-"])
def test_names_are_spelled_as_kubespawner_and_we_spell_them(user: str) -> None:
    spelled: Any = Spellings([user])
    for name in (f"jupyter-{safe_slug(user, max_length=1000)}", f"jupyter-{escape_slug(user)}--gpu"):
        assert spelled.replaced(name, "…") != name
