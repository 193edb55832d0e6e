"""The ``hubquota`` command: each subcommand wires what it needs."""

import click

from hubquota.cli.operator import operator


@click.group()
@click.version_option(package_name="hubquota")
def main() -> None:
    """Quotas over time for JupyterHub on Kubernetes."""


main.add_command(operator)
