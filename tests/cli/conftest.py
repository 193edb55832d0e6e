"""The command as a user runs it, and a ledger to ask."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from hubquota.cli import main
from hubquota.domain.history import Membership, PodRecord, PolicyRevision
from hubquota.ledger import Ledger

Run = Callable[..., str]


@pytest.fixture
def run() -> Run:
    """Run ``hubquota`` with these arguments; gives its output, also of a failure (``fails=True``)."""

    def command(*args: object, fails: bool = False) -> str:
        done = CliRunner().invoke(main, [str(arg) for arg in args])
        assert (done.exit_code != 0) is fails, done.output
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.output

    return command


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Fill a ledger that the command finds by its settings."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("HUBQUOTA_DATABASE_URL", url)

    def fill(
        pods: Sequence[PodRecord],
        policies: Sequence[PolicyRevision] = (),
        memberships: Sequence[Membership] = (),
        hubs: Sequence[str] = ("hub",),
    ) -> None:
        async def write() -> None:
            async with await Ledger.open(url) as ledger:
                for hub in hubs:
                    await ledger.covered_since(hub, 0)
                await ledger.record(pods)
                for policy in policies:
                    await ledger.record_policy_revision(policy)
                await ledger.record_membership(*memberships)

        asyncio.run(write())

    return fill
