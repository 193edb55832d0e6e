"""The ``hubquota`` command: each subcommand wires what it needs."""

import click

from hubquota.cli.backfill import backfill
from hubquota.cli.explain import explain
from hubquota.cli.export import export
from hubquota.cli.ledger import ledger
from hubquota.cli.monitor import monitor
from hubquota.cli.operator import operator
from hubquota.cli.replay import replay


@click.group()
@click.version_option(package_name="hubquota")
def main() -> None:
    """Quotas over time for JupyterHub on Kubernetes."""


for command in (operator, monitor, explain, export, replay, backfill, ledger):
    main.add_command(command)
