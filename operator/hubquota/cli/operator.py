"""``hubquota operator``."""

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Final

import click

from hubquota.resources.wording import printable
from hubquota.settings import Settings, SettingsError, load

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; control characters in names are escaped by it."""
        told = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)


class TextFormatter(logging.Formatter):
    """A line for people, in which no name can start a line or colour a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text; what cannot be printed is shown as its code."""
        return printable(super().format(record))


@click.command()
@click.option(
    "--config",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A YAML file of settings; repeat it for more, the later wins. docs/settings.md lists them.",
)
def operator(files: tuple[Path, ...]) -> None:
    """Meter pods, keep the ledger, and write where everybody stands."""
    try:
        settings = load(files)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    _log_by(settings)
    logging.getLogger("hubquota").info("settings %s", json.dumps(settings.printed()))
    # Only now: the client alone takes 55 MB.
    from hubquota.cluster.api import ApiError
    from hubquota.cluster.leases import LeaseLost
    from hubquota.cluster.serving import Ended, run

    try:
        asyncio.run(run(settings))
    except (ApiError, LeaseLost, Ended, SettingsError) as error:
        logging.getLogger("hubquota").error("ends: %s", error)
        sys.exit(1)


def _log_by(settings: Settings) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter(_TEXT))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for library in ("kopf", "alembic", "aiosqlite"):
        logging.getLogger(library).setLevel(logging.WARNING)
