"""``hubquota ledger``: the commands that keep the ledger."""

import click

from hubquota.cli.auditing import repair, verify
from hubquota.cli.moving import forget, rename
from hubquota.cli.pruning import prune


@click.group()
def ledger() -> None:
    """Keep the ledger: audit and mend it, move and forget users, prune what is old."""


for command in (verify, repair, rename, forget, prune):
    ledger.add_command(command)
