"""``hubquota operator``."""

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Final

import click

from hubquota.resources.wording import printable
from hubquota.settings import Settings, SettingsError, load

#: Seconds from the end of all work to that of the process, for the loop to close what is open.
_LAST: Final = 5.0
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
    log_by(settings)
    logging.getLogger("hubquota").info("settings %s", json.dumps(settings.printed()))
    # kopf loads KubeSpawner's client where that is installed too, to know its objects: a second and 60 MB for nothing.
    sys.modules.setdefault("kubernetes_asyncio", None)  # type: ignore[arg-type]
    # Only now: the client alone takes 55 MB.
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    from hubquota.cluster.api import ApiError
    from hubquota.cluster.leases import LeaseLost
    from hubquota.cluster.serving import Ended, run
    from hubquota.ledger import Superseded

    try:
        to_the_end(run(settings))
    except (ApiError, LeaseLost, Ended, Superseded, SettingsError, SQLAlchemyError, ArgumentError) as error:
        logging.getLogger("hubquota").error("ends: %s", error)
        sys.exit(1)


def to_the_end(work: Coroutine[None, None, None], seconds: float = _LAST) -> None:
    """Run ``work``. When it is over the process ends within ``seconds``: also where a task of a library does not."""
    last = threading.Timer(seconds, _end)
    last.daemon = True

    async def doing() -> None:
        try:
            await work
        finally:
            last.start()

    try:
        asyncio.run(doing())
    finally:
        last.cancel()


def _end() -> None:
    logging.getLogger("hubquota").error("ends, though a part does not")
    os._exit(1)


def log_by(settings: Settings) -> None:
    """Have what this process does written to its standard error, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter(_TEXT))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    for library in ("kopf", "alembic", "aiosqlite"):
        logging.getLogger(library).setLevel(logging.WARNING)
