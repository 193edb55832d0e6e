"""An admin audits and mends the ledger, moves and forgets users, and prunes, from the command line."""

import asyncio
import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click import Group
from click.testing import CliRunner, Result
from sqlalchemy import Executable, update

from hubquota.cli import main
from hubquota.domain.history import HowEnded, Membership, PodEnd, PolicyRevision
from hubquota.ledger import Ledger
from hubquota.ledger.auditing.findings import Kind
from hubquota.ledger.tables import pods
from tests.cli.conftest import Run
from tests.ledger.pods import pod

END = PodEnd(200, HowEnded.CONTAINERS)
OFFLINE = ("ledger", "verify", "--offline")


def ended(code: int, *args: object) -> str:
    """Run it; gives its output."""
    done: Result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert done.exit_code == code, done.output
    return done.output


def broken(statement: Executable) -> None:
    async def run() -> None:
        async with await Ledger.open(os.environ["HUBQUOTA_DATABASE_URL"]) as ledger:
            await ledger.writing(lambda connection: connection.execute(statement))

    asyncio.run(run())


@pytest.fixture
def one_wrong(filled: Callable[..., None]) -> None:
    """A ledger with one wrong digest, of a pod whose name could colour a terminal."""
    filled([pod("u1", at=200, end=END, name="jupyter-\x1b[31m\n\u202e"), pod("u2", user="bob")])
    broken(update(pods).where(pods.c.uid == "u1").values(digest="?"))


def test_a_clean_ledger_is_told_so(filled: Callable[..., None]) -> None:
    filled([pod()])
    assert ended(0, *OFFLINE) == "no differences in hub\n"
    told = json.loads(ended(0, *OFFLINE, "--output", "json"))
    assert told == {"hubs": ["hub"], "differences": [], "young": [], "notMetered": []}


@pytest.mark.usefixtures("one_wrong")
def test_people_read_what_is_wrong_and_how_it_is_mended() -> None:
    text = ended(1, *OFFLINE)
    assert text.startswith("1 difference\n  HUB   KIND     NAME ")
    assert r"hub   Digest   jupyter-\x1b[31m\n\u202e   u1   the digest says ?, segments and groups say [{" in text
    assert "write it anew from what was seen" in text
    assert all(c.isprintable() or c == "\n" for c in text)


@pytest.mark.usefixtures("one_wrong")
def test_programs_read_the_same() -> None:
    raw = ended(1, *OFFLINE, "--output", "json")
    assert raw.isascii()
    [told] = json.loads(raw)["differences"]
    assert (told["kind"], told["of"], told["name"]) == ("Digest", "u1", "jupyter-\x1b[31m\n\u202e")
    assert set(told) == {"kind", "hub", "name", "of", "found", "repair"}


@pytest.mark.usefixtures("one_wrong")
def test_a_dry_run_mends_nothing_and_a_repair_does_it_once() -> None:
    assert "Digest" in ended(1, "ledger", "repair", "--offline", "--dry-run")
    assert ended(0, "ledger", "repair", "--offline").startswith("1 difference mended\n")
    assert ended(0, "ledger", "repair", "--offline") == "0 differences mended\n"
    assert ended(0, *OFFLINE) == "no differences in hub\n"


def test_what_a_repair_leaves_is_told(filled: Callable[..., None]) -> None:
    filled([pod(at=200, end=END)])
    broken(update(pods).values(finished=10))
    text = ended(1, "ledger", "repair", "--offline")
    assert "0 differences mended" in text
    assert "1 left: nobody but you can tell what is right" in text
    told = json.loads(ended(1, "ledger", "repair", "--offline", "--output", "json"))
    assert [t["kind"] for t in told["left"]] == ["Unreadable"]


def test_not_having_looked_is_no_difference(
    filled: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    filled([pod()])
    assert "the ledger does not know third: hub" in ended(2, *OFFLINE, "--hub", "third")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert "the cluster cannot be looked at (--offline does not need it)" in ended(2, "ledger", "verify")
    (tmp_path / "config").write_text("{")
    assert "config cannot be used: while parsing" in ended(2, "ledger", "verify")
    filled([], hubs=())
    monkeypatch.setenv("HUBQUOTA_CLUSTER", "another")
    assert "the ledger knows no hub" in ended(2, *OFFLINE)
    monkeypatch.setenv("HUBQUOTA_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    assert "there is no ledger at /nowhere/at/all.db" in ended(2, *OFFLINE)
    assert "there is no ledger at /nowhere/at/all.db" in ended(2, "ledger", "repair", "--offline")


@pytest.mark.parametrize("command", ["verify", "repair"])
def test_nor_is_a_fault_that_nobody_thought_of(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    def odd(*_: object) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr(f"hubquota.cli.auditing._{command}", odd)
    assert "nothing could be looked at: ZeroDivisionError: odd" in ended(2, "ledger", command, "--offline")


def test_a_rename_tells_what_it_moved_and_what_is_yours_to_do(run: Run, filled: Callable[..., None]) -> None:
    policy = PolicyRevision("p", "hub", "weekly", 1, {"scope": {"users": ["alice"]}}, 1)
    filled([pod()], [policy], [Membership("hub", "alice", frozenset("a"), 1)])
    assert run("ledger", "rename", "alice", "Bob").splitlines() == [
        "“alice” of hub is “Bob” now: 1 pods, 1 hub users, 1 memberships",
        "policy weekly still names “alice”: edit it in the cluster",
        "a running operator still has the old name in memory: kubectl -n hub delete userquota alice "
        "--ignore-not-found, then restart the operator",
    ]
    assert "“Bob” has a history already: give --merge" in _twice(run)
    assert "the ledger knows no user “alice”" in run("ledger", "rename", "alice", "x", fails=True)


def _twice(run: Run) -> str:
    """A second user of the name comes, and is renamed to the first."""

    async def come() -> None:
        async with await Ledger.open(os.environ["HUBQUOTA_DATABASE_URL"]) as ledger:
            await ledger.record([pod("u9", user="carl")])

    asyncio.run(come())
    return run("ledger", "rename", "carl", "Bob", fails=True)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a", "a"), "OLD and NEW are the same"),
        (("a", ""), "write 1 to 255 characters"),
        (("a", "b" * 256), "1 to 255"),
    ],
)
def test_a_name_that_is_none_is_refused(
    run: Run, filled: Callable[..., None], names: tuple[str, str], words: str
) -> None:
    filled([pod()])
    assert words in run("ledger", "rename", *names, fails=True)


def test_who_is_forgotten_is_not_told_under_which_name(run: Run, filled: Callable[..., None]) -> None:
    filled([pod(at=200, end=END), pod("u2", user="bob", groups=("alice",))])
    told = run("ledger", "forget", "alice").splitlines()
    assert told[0] == "“alice” of hub is forgotten: 1 pods"
    assert told[1].startswith("the name is still a word in pod_groups.group (1)")
    assert "delete userquota alice" in told[-1]
    assert "forgotten-" not in "\n".join(told)


def test_the_pod_of_one_who_is_forgotten_does_not_run(run: Run, filled: Callable[..., None]) -> None:
    filled([pod(name="jupyter-\x1b")])
    assert r"1 of their pods run (jupyter-\x1b): stop them first, or give --force" in run(
        "ledger", "forget", "alice", fails=True
    )
    assert "is forgotten" in run("ledger", "forget", "alice", "--force")


def test_a_prune_says_what_it_did_and_where_the_pods_are(run: Run, filled: Callable[..., None], tmp_path: Path) -> None:
    filled([pod(f"u{i}", at=200, end=END) for i in range(3)])
    archive = tmp_path / "old.jsonl"
    before = ("ledger", "prune", "--before", "2020-01-01T00:00:00Z", "--archive", archive)
    assert "hub: would delete 3 pods, 0 decisions" in run(*before, "--dry-run")
    assert run(*before).splitlines() == [
        "hub: deleted 3 pods, 0 decisions, 0 memberships, 0 hub users, 0 policy revisions from before "
        "2020-01-01T00:00:00Z",
        f"usage is known since 2020-01-01T00:00:00Z now; the pods are in {archive}",
    ]
    assert len(archive.read_text().splitlines()) == 3
    assert f"{archive} cannot be written: File exists: name a new file" in run(*before, fails=True)


def test_a_prune_by_age_keeps_what_is_younger(run: Run, filled: Callable[..., None]) -> None:
    now = int(datetime.now(UTC).timestamp() * 1_000_000)
    young = now - 300 * 86_400 * 1_000_000
    filled([pod(at=200, end=END), pod("u2", young, end=PodEnd(young, HowEnded.CONTAINERS), scheduled=young)])
    assert "deleted 1 pods" in run("ledger", "prune", "--older-than", "400d")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "write either --before INSTANT or --older-than DAYS"),
        (("--before", "2020-01-01T00:00:00Z", "--older-than", "400d"), "write either"),
        (("--older-than", "400"), "write days, such as 400d"),
        (("--older-than", "-4d"), "write days, such as 400d"),
        (("--older-than", "1d"), "where a month that is not frozen begins: name an instant not after that"),
        (("--before", "2999-01-01T00:00:00Z"), "where a month that is not frozen begins"),
    ],
)
def test_a_prune_of_what_is_not_old_is_refused(
    run: Run, filled: Callable[..., None], arguments: tuple[str, ...], words: str
) -> None:
    filled([pod(at=200, end=END)])
    assert words in run("ledger", "prune", *arguments, fails=True)


def test_the_docs_name_every_kind_of_finding_and_every_option() -> None:
    docs = Path(__file__).parents[2] / "docs"
    told = (docs / "auditing.md").read_text() + (docs / "ledger.md").read_text()
    lacking: list[str] = [kind for kind in Kind if f"`{kind}`" not in told]
    group = main.commands["ledger"]
    assert isinstance(group, Group)
    options = {opt for command in group.commands.values() for p in command.params for opt in p.opts if opt[:2] == "--"}
    lacking += [opt for opt in sorted(options - {"--output"}) if opt not in told]
    assert lacking == []
    assert set(re.findall(r"hubquota ledger ([a-z]+)\b", told)) == set(group.commands)
