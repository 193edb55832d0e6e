"""The command as a user runs it, and a ledger to ask."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from click.testing import CliRunner

from hubquota.cli import main
from hubquota.domain.history import DecisionRecord, Membership, PodRecord, PolicyRevision
from hubquota.ledger import Ledger
from tests.ledger import conftest as of_ledgers

#: Wherever ledgers are tried.
new_url, url = of_ledgers.new_url, of_ledgers.url
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
def filled(url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Fill a ledger that the command finds by its settings."""
    monkeypatch.setenv("HUBQUOTA_DATABASE_URL", url)

    def fill(
        pods: Sequence[PodRecord],
        policies: Sequence[PolicyRevision] = (),
        memberships: Sequence[Membership] = (),
        hubs: Sequence[str] = ("hub",),
        decisions: Sequence[DecisionRecord] = (),
    ) -> None:
        async def write() -> None:
            async with await Ledger.open(url) as ledger:
                for hub in hubs:
                    await ledger.covered_since(hub, 0)
                await ledger.record(pods)
                for policy in policies:
                    await ledger.record_policy_revision(policy)
                await ledger.record_membership(*memberships)
                await ledger.record_decisions(*decisions)

        asyncio.run(write())

    return fill
