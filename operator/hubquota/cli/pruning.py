"""``hubquota ledger prune``."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hubquota.cli.asking import Instant, config_option, hub_of, hub_option, ledger_of, now, settings_of
from hubquota.domain.pods import rfc3339
from hubquota.domain.windows import DAY
from hubquota.resources.wording import printable

if TYPE_CHECKING:
    from hubquota.ledger.pruning import Pruned


class Age(click.ParamType[int]):
    """A number of days, as microseconds."""

    name = "days"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read one; fails with what to write instead."""
        if isinstance(value, int):
            return value
        text = str(value)
        if not (text.endswith("d") and text[:-1].isascii() and text[:-1].isdecimal() and len(text) <= 6):
            self.fail(f"{printable(text[:40])!r} is not an age: write days, such as 400d", param, ctx)
        return int(text[:-1]) * DAY


@click.command()
@config_option
@hub_option
@click.option("--before", type=Instant(), help="Delete what ended before this instant.")
@click.option("--older-than", "age", type=Age(), help="Delete what ended longer ago, such as 400d.")
@click.option(
    "--archive",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file to write the pods to first, as export does; it must not be there.",
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
def prune(
    files: tuple[Path, ...],
    hub: str | None,
    before: int | None,
    age: int | None,
    archive: Path | None,
    *,
    dry_run: bool,
) -> None:
    """Delete pods, decisions, and stretches of users, groups and policies that ended long ago.

    Never inside a window of a policy that holds, nor in this month and the last (UTC).
    """
    if (before is None) == (age is None):
        raise click.UsageError("write either --before INSTANT or --older-than DAYS, such as 400d")
    at = now()
    until = before if before is not None else max(0, at - (age or 0))
    namespace, done = asyncio.run(_prune(files, hub, until, at, archive, dry_run=dry_run))
    counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in asdict(done).items())
    click.echo(f"{namespace}: {'would delete' if dry_run else 'deleted'} {counts} from before {rfc3339(until)}")
    if done.pods and not dry_run:
        click.echo(f"usage is known since {rfc3339(until)} now" + (f"; the pods are in {archive}" if archive else ""))


async def _prune(
    files: Sequence[Path], hub: str | None, before: int, at: int, archive: Path | None, *, dry_run: bool
) -> "tuple[str, Pruned]":
    from hubquota.ledger.pruning import CannotPrune
    from hubquota.ledger.pruning import prune as pruned

    async with ledger_of(settings_of(tuple(files))) as ledger:
        namespace = await hub_of(ledger, hub)
        try:
            return namespace, await pruned(ledger, namespace, before, at, archive, dry_run=dry_run)
        except CannotPrune as fault:
            raise click.ClickException(printable(str(fault))) from fault
        except OSError as fault:
            raise click.ClickException(f"{archive} cannot be written: {fault.strerror}: name a new file") from fault
