"""``hubquota ledger rename`` and ``hubquota ledger forget``."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubquota.cli.asking import by_option, config_option, hub_of, hub_option, ledger_of, now, settings_of
from hubquota.domain.history import LONGEST_USER
from hubquota.resources.names import user_quota_name
from hubquota.resources.wording import printable

if TYPE_CHECKING:
    from hubquota.ledger.forgetting import Forgotten
    from hubquota.ledger.renaming import Renamed


@click.command()
@click.argument("old")
@click.argument("new")
@config_option
@hub_option
@click.option("--merge", is_flag=True, help="Also where NEW has a history of its own: make one of both.")
@by_option
def rename(old: str, new: str, files: tuple[Path, ...], hub: str | None, *, merge: bool, by: str) -> None:
    """Move all that the ledger has of the user OLD to the name NEW, after the hub renamed the user.

    Pods, groups, decisions and adjustments are moved, and it is recorded. Policies that name OLD are yours to edit.
    """
    if old == new:
        raise click.ClickException("OLD and NEW are the same: write two names")
    if not 0 < len(new) <= LONGEST_USER or "\0" in new:
        raise click.ClickException(f"NEW is no user's name: write 1 to {LONGEST_USER} characters, and no NUL")
    namespace, done = asyncio.run(_rename(files, hub, old, new, by, merge=merge))
    click.echo(f"“{printable(old)}” of {namespace} is “{printable(new)}” now: {_counts(done.moved)}")
    for policy in done.naming:
        click.echo(f"policy {policy} still names “{printable(old)}”: edit it in the cluster")
    _tell_what_is_left(namespace, old)


@click.command()
@click.argument("user")
@config_option
@hub_option
@click.option("--force", is_flag=True, help="Also while a pod of theirs runs.")
@by_option
def forget(user: str, files: tuple[Path, ...], hub: str | None, *, force: bool, by: str) -> None:
    """Put a pseudonym in the place of USER, wherever the ledger has that name; all usage stays as it is.

    Which pseudonym it is cannot be reckoned from the name, is not told, and is kept nowhere. It cannot be undone.
    """
    namespace, done, still = asyncio.run(_forget(files, hub, user, by, force=force))
    click.echo(f"“{printable(user)}” of {namespace} is forgotten: {_counts(done.changed)}")
    if done.left:
        click.echo(f"the name is still a word in {', '.join(done.left)}: these are not about the user alone")
    if still:
        click.echo(printable(still))
    _tell_what_is_left(namespace, user)


async def _rename(
    files: tuple[Path, ...], hub: str | None, old: str, new: str, by: str, *, merge: bool
) -> "tuple[str, Renamed]":
    from hubquota.ledger.renaming import CannotRename
    from hubquota.ledger.renaming import rename as renamed

    async with ledger_of(settings_of(files)) as ledger:
        namespace = await hub_of(ledger, hub)
        try:
            return namespace, await renamed(ledger, namespace, old, new, merge=merge, at=now(), by=by)
        except CannotRename as fault:
            raise click.ClickException(printable(str(fault))) from fault


async def _forget(
    files: tuple[Path, ...], hub: str | None, user: str, by: str, *, force: bool
) -> "tuple[str, Forgotten, str | None]":
    from hubquota.ledger.forgetting import CannotForget
    from hubquota.ledger.forgetting import forget as forgotten

    async with ledger_of(settings_of(files)) as ledger:
        namespace = await hub_of(ledger, hub)
        try:
            done = await forgotten(ledger, namespace, user, force=force, at=now(), by=by)
        except CannotForget as fault:
            raise click.ClickException(printable(str(fault))) from fault
        return namespace, done, await ledger.tidy()


def _counts(rows: Mapping[str, int]) -> str:
    told = ", ".join(f"{count} {table.replace('_', ' ')}" for table, count in rows.items() if count)
    return told or "nothing was there"


def _tell_what_is_left(hub: str, user: str) -> None:
    click.echo(
        f"a running operator still has the old name in memory: kubectl -n {hub} delete userquota "
        f"{user_quota_name(user)} --ignore-not-found, then restart the operator"
    )
