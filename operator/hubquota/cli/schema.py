"""``hubquota ledger upgrade`` and ``hubquota ledger check``."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import click

from hubquota.cli.asking import config_option
from hubquota.cli.auditing import CouldNotLookError
from hubquota.resources.wording import printable
from hubquota.settings import SettingsError, load

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

T = TypeVar("T")
_FIT: Final = 0
_UNFIT: Final = 1


class Found(NamedTuple):
    """What a check comes to. ``revision`` None: there is no ledger; ``differences``: None are there, or not asked."""

    revision: str | None
    head: str
    differences: list[str]


@click.command()
@config_option
def upgrade(files: tuple[Path, ...]) -> None:
    """Make the ledger's tables, or bring them up to this version; nothing happens where they are.

    An operator does this by itself at its start, where its role in the database may.
    """
    before, after = _with_engine(files, _upgrade)
    click.echo(f"the ledger is at revision {after} already" if before == after else f"{before or 'nothing'} → {after}")


@click.command()
@config_option
def check(files: tuple[Path, ...]) -> None:
    """Say whether the ledger's schema is the one that this version works on.

    Ends with 0 where it is, 1 where it is not, 2 where one could not look.
    """
    code, told = _judged(_with_engine(files, _look))
    click.echo(told)
    sys.exit(code)


def _judged(found: "Found | str") -> tuple[int, str]:
    if isinstance(found, str):
        return _UNFIT, found
    if found.revision is None:
        return _UNFIT, f"there are no tables yet: run hubquota ledger upgrade, which makes those of {found.head}"
    if found.revision != found.head:
        told = f"the ledger is at revision {found.revision}, and this version works on {found.head}"
        return _UNFIT, f"{told}: make a backup and run hubquota ledger upgrade"
    if found.differences:
        listed = "".join(f"\n  {printable(told)}" for told in found.differences)
        return _UNFIT, f"somebody else has changed the tables: take back what follows, or restore a backup{listed}"
    return _FIT, f"the ledger is at revision {found.head}, as this version works on"


async def _upgrade(engine: "AsyncEngine") -> tuple[str | None, str]:
    from hubquota.ledger import migrations

    before = await migrations.at(engine)
    await migrations.upgrade(engine)
    return before, migrations.head()


async def _look(engine: "AsyncEngine") -> "Found | str":
    from hubquota.ledger import SchemaError, migrations

    try:
        revision = await migrations.at(engine)
    except SchemaError as fault:
        return str(fault)
    same = revision == migrations.head()
    return Found(revision, migrations.head(), await migrations.differences(engine) if same else [])


def _with_engine(files: tuple[Path, ...], work: "Callable[[AsyncEngine], Awaitable[T]]") -> T:
    """Do something with the database of the settings. Ends with 2 where it cannot be reached."""
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    from hubquota.ledger.engine import connect, missing
    from hubquota.ledger.faults import explained

    async def run(url: str) -> T:
        engine = connect(url)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    try:
        url = load(files).database()
        if work is _look and (file := missing(url)) is not None:
            raise CouldNotLookError(f"there is no ledger at {file}: run hubquota ledger upgrade, or name another")
        return asyncio.run(run(url))
    except (SettingsError, ArgumentError, ValueError) as fault:
        raise CouldNotLookError(str(fault)) from None
    except SQLAlchemyError as fault:
        raise CouldNotLookError(str(explained(fault))) from None
