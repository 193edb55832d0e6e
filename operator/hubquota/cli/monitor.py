"""``hubquota monitor``."""

import asyncio
import logging
import sys
from pathlib import Path
from typing import Final

import click

from hubquota.cli.asking import ledger_of, now, settings_of
from hubquota.cli.operator import log_by
from hubquota.settings import Settings, SettingsError

logger = logging.getLogger("hubquota")

_EMBEDDED: Final = "an SQLite ledger has one process: its operator makes this check itself, every monitor_interval"


@click.command()
@click.option(
    "--config",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A YAML file of settings, as the operator's; repeat it for more, the later wins.",
)
@click.option("--once", is_flag=True, help="Look once at all hubs, and fail where one could not be looked at.")
def monitor(files: tuple[Path, ...], once: bool) -> None:
    """End the ledger's rows whose pods are gone, and nobody saw go: the final check, beside the operator.

    For a ledger on PostgreSQL. With SQLite the operator makes this check itself.
    """
    settings = settings_of(files)
    log_by(settings)
    from hubquota.cluster.api import ApiError

    try:
        fault = asyncio.run(_monitor(settings, once=once))
    except (ApiError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    if fault is not None:
        logger.error("ends: %s", fault)
        sys.exit(1)


async def _monitor(settings: Settings, *, once: bool) -> str | None:
    from hubquota.cluster.api import connected
    from hubquota.cluster.monitoring import Monitor
    from hubquota.cluster.namespaces import Namespaces
    from hubquota.health import Health
    from hubquota.metrics import MonitorMetrics, served

    metrics, health = MonitorMetrics(), Health()
    with served(metrics.registry, health, str(settings.metrics_address), 0 if once else settings.metrics_port):
        async with connected(settings.request_timeout) as api, ledger_of(settings) as ledger:
            if not ledger.shared:
                raise click.ClickException(_EMBEDDED)
            monitor = Monitor(api, ledger, Namespaces(api, settings).found, now, settings, metrics)
            if once:
                return await monitor.round()
            health.look = lambda: monitor.fault
            async with asyncio.TaskGroup() as group:
                group.create_task(health.follow())
                group.create_task(monitor.run())
    return None
