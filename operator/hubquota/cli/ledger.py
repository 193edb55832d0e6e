"""``hubquota ledger``: the commands that keep the ledger."""

import click

from hubquota.cli.auditing import repair, verify
from hubquota.cli.moving import forget, rename
from hubquota.cli.pruning import prune
from hubquota.cli.schema import check, upgrade


@click.group()
def ledger() -> None:
    """Keep the ledger: its schema, audits and mends, users who move or are forgotten, and what is old."""


for command in (check, upgrade, verify, repair, rename, forget, prune):
    ledger.add_command(command)
