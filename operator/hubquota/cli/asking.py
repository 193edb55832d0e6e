"""What the commands that only read have in common: which ledger, which hub, which instant."""

import getpass
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hubquota.domain.pods import micros
from hubquota.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from hubquota.ledger import Ledger

F = TypeVar("F", bound=Callable[..., Any])


class Instant(click.ParamType[int]):
    """An RFC 3339 time, as microseconds since 1970."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Read one; fails with what to write instead."""
        if isinstance(value, int):
            return value
        try:
            return micros(value)
        except ValueError as fault:
            self.fail(f"{fault}: write an instant such as 2026-01-31T09:00:00Z", param, ctx)


def config_option(command: F) -> F:
    """``--config``, as the operator has it."""
    return click.option(
        "--config",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        help="A YAML file of the operator's settings, for the ledger's database; repeat it for more, the later wins.",
    )(command)


def hub_option(command: F) -> F:
    """``--hub``."""
    return click.option("--hub", help="The hub's namespace. Needed only where the ledger knows several.")(command)


def output_option(command: F) -> F:
    """``--output``."""
    kinds = click.Choice(["table", "json"])
    return click.option(
        "--output", type=kinds, default="table", show_default=True, help="A form for people or for programs."
    )(command)


def by_option(command: F) -> F:
    """``--by``."""
    told = "Who does it, for the record. Without it: the user of this machine and its name."
    return click.option("--by", default=_me, help=told)(command)


def _me() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a pod's user id has no name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def settings_of(files: tuple[Path, ...]) -> Settings:
    """The settings. Raises ClickException, naming all faults."""
    try:
        return load(files)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error


@asynccontextmanager
async def ledger_of(settings: Settings) -> "AsyncIterator[Ledger]":
    """The ledger, which must be there. Raises ClickException."""
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    from hubquota.ledger import Ledger, LedgerError, missing

    try:
        url = settings.database()
        if (file := missing(url)) is not None:
            raise click.ClickException(f"there is no ledger at {file}: name the operator's database in database_url")
        async with await Ledger.open(url, settings.cluster) as ledger:
            yield ledger
    except LedgerError as error:
        raise click.ClickException(str(error)) from None
    except (SettingsError, SQLAlchemyError, ArgumentError, ValueError) as error:
        raise click.ClickException(f"the ledger cannot be read: {error}") from error


async def hub_of(ledger: "Ledger", hub: str | None) -> str:
    """The hub that is asked for, or the only one. Raises ClickException."""
    known = await ledger.hubs()
    if hub is None and len(known) == 1:
        return known[0]
    listed = ", ".join(known) or "none"
    if hub is None:
        raise click.ClickException(f"the ledger knows several hubs, or none: name one with --hub ({listed})")
    if hub not in known:
        raise click.ClickException(f"the ledger does not know the hub {hub!r}: name one of {listed}")
    return hub


def now() -> int:
    """Now, in microseconds since 1970."""
    return time.time_ns() // 1000
