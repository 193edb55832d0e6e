"""``hubquota export``."""

import asyncio
import sys
from pathlib import Path
from typing import TextIO

import click

from hubquota.cli.asking import Instant, config_option, hub_of, hub_option, ledger_of, settings_of


@click.command()
@config_option
@hub_option
@click.option("--since", type=Instant(), default=0, help="Only pods that held something after this instant.")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; it must not be there. Without it, to standard output.",
)
def export(files: tuple[Path, ...], hub: str | None, since: int, target: Path | None) -> None:
    """Write a hub's pod history as JSON lines (docs/pod-history.md), for replay or for other tools."""
    asyncio.run(_export(files, hub, since, target))


async def _export(files: tuple[Path, ...], hub: str | None, since: int, target: Path | None) -> None:
    from hubquota.files.pod_history import to_line

    async with ledger_of(settings_of(files)) as ledger:
        namespace = await hub_of(ledger, hub)
        count = 0
        with click.open_file("-", "w") if target is None else _new(target) as out:
            async for pod in ledger.pods_since(namespace, since):
                print(to_line(pod), file=out)
                count += 1
    click.echo(f"{count} pods of {namespace}", file=sys.stderr)


def _new(target: Path) -> TextIO:
    try:
        return target.open("x", encoding="utf-8")
    except OSError as fault:
        raise click.ClickException(f"{target} cannot be written: {fault.strerror}") from fault
