"""``hubquota backfill``."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from hubquota.cli.asking import Instant, config_option, ledger_of, now, output_option, settings_of
from hubquota.cli.backfilled import Found, as_json, as_text
from hubquota.domain.history import Backfill, PodRecord
from hubquota.domain.pods import rfc3339
from hubquota.resources.wording import printable
from hubquota.settings import Settings

if TYPE_CHECKING:
    from hubquota.ledger import Filled, Ledger
    from hubquota.prometheus.client import Prometheus
    from hubquota.prometheus.reading import Reading

Stretch = tuple[int, int]
Progress = Callable[[int], None]

#: Exit code where all that could be had was taken in, but not all that was asked for could be had.
NOT_ALL: Final = 3


@click.command()
@config_option
@click.option("--hub", "hubs", multiple=True, help="A hub's namespace; repeat it for more. Without it: all known ones.")
@click.option("--since", type=Instant(), required=True, help="From this instant on.")
@click.option("--until", type=Instant(), help="Pods that were placed before this instant. Without it: now.")
@click.option("--again", is_flag=True, help="Read anew what was read before.")
@click.option("--dry-run", is_flag=True, help="Say what would be taken in; take in nothing.")
@output_option
def backfill(
    files: tuple[Path, ...],
    hubs: tuple[str, ...],
    since: int,
    until: int | None,
    again: bool,
    dry_run: bool,
    output: str,
) -> None:
    """Take in history from Prometheus, as kube-state-metrics told it: before the installation, and for holes.

    What was seen directly stands. Run it again and it goes on where it was, or changes nothing. Ends with 3 where not
    all of the time asked for could be seen. docs/backfill.md tells what is read, and how exact it is.
    """
    from hubquota.prometheus.errors import PrometheusError

    instant = now()
    if since >= min(instant, instant if until is None else until):
        raise click.UsageError("--since must lie before --until and before now")
    if until is not None and until > instant:
        raise click.UsageError("--until lies in the future: leave it out for all up to now")
    run = _Run(settings_of(files), since, instant if until is None else until, instant, again, dry_run)
    try:
        found = asyncio.run(run.all(hubs))
    except PrometheusError as fault:
        raise click.ClickException("; ".join([printable(str(fault)), *getattr(fault, "__notes__", ())])) from fault
    if output == "json":
        click.echo(json.dumps([as_json(f) for f in found], indent=2))
    else:
        click.echo("\n\n".join(as_text(f, dry=dry_run) for f in found))
    if not all(f.whole for f in found):
        sys.exit(NOT_ALL)


@dataclass(frozen=True)
class _Run:
    """One run of the command."""

    settings: Settings
    since: int
    until: int
    now: int
    again: bool
    dry: bool

    async def all(self, asked: Sequence[str]) -> list[Found]:
        """All hubs, one after the other. Raises PrometheusError, ClickException."""
        from hubquota.prometheus.client import Prometheus

        # First what the settings say: a ledger need not be there to be told of a slip of the pen.
        async with Prometheus(self.settings) as prometheus, ledger_of(self.settings) as ledger:
            hubs = list(dict.fromkeys(asked)) or await ledger.hubs() or list(self.settings.hub_namespaces)
            if not hubs:
                raise click.ClickException("no hub is known: name its namespace with --hub")
            return [await self._hub(prometheus, ledger, hub) for hub in hubs]

    async def _hub(self, prometheus: "Prometheus", ledger: "Ledger", hub: str) -> Found:
        from hubquota.prometheus.scrapes import joined, without

        found = Found(hub, self.since, self.until)
        read = [] if self.again else joined((b.start, b.end) for b in await ledger.backfills(hub))
        left = without((self.since, self.until), read)
        found.known = without((self.since, self.until), left)
        users = await ledger.users(hub)
        with click.progressbar(length=sum(end - start for start, end in left), label=hub, file=sys.stderr) as bar:
            for stretch in left:
                reading = _reading(self.settings, prometheus, hub, users)
                await self._stretch(reading, ledger, stretch, found, _moving(bar, stretch))
        if not self.dry:
            await ledger.fill_in(hub, [], [])  # an operator may have come since what was read before
        if hub in await ledger.hubs():
            found.covered_since = await ledger.covered(hub, self.now)
        return found

    async def _stretch(
        self, reading: "Reading", ledger: "Ledger", stretch: Stretch, found: Found, moved: Progress
    ) -> None:
        """Read one stretch, and take in each piece of it before the next is asked for."""
        from hubquota.prometheus.errors import PrometheusError

        seen: list[Stretch] = []
        try:
            async with aclosing(reading.pieces(*stretch, self.now)) as pieces:
                async for piece in pieces:
                    seen = piece.seen
                    filled = await self._taken(ledger, found.hub, piece.pods, self._read(reading, found.hub, seen))
                    found.add(piece.pods, filled)
                    moved(min(piece.end, stretch[1]))
        except PrometheusError as fault:
            if seen and not self.dry:
                fault.add_note(f"what was read up to {rfc3339(seen[-1][1])} is kept: run this again to go on")
            raise
        moved(stretch[1])
        found.interval = max(found.interval, reading.scrapes.interval if seen else 0)
        found.seen += seen
        found.note(reading)

    async def _taken(self, ledger: "Ledger", hub: str, pods: list[PodRecord], read: list[Backfill]) -> "Filled":
        return await (ledger.would_fill_in(pods) if self.dry else ledger.fill_in(hub, pods, read))

    def _read(self, reading: "Reading", hub: str, seen: Iterable[Stretch]) -> list[Backfill]:
        source = self.settings.prometheus_url or ""
        return [Backfill(hub, start, end, source, reading.scrapes.interval, self.now) for start, end in seen]


def _reading(settings: Settings, prometheus: "Prometheus", hub: str, users: set[str]) -> "Reading":
    from hubquota.prometheus.promql import Names
    from hubquota.prometheus.questions import Questions
    from hubquota.prometheus.reading import Reading
    from hubquota.prometheus.resources import Resources
    from hubquota.prometheus.slugs import Users

    names = Names(settings.prometheus_names, settings.prometheus_selector)
    return Reading(
        Questions(prometheus, names, hub),
        hub,
        settings.cluster,
        Resources(settings.prometheus_resources),
        Users(settings.prometheus_user_labels, users),
        int(settings.prometheus_gap * 1_000_000),
    )


def _moving(bar: Any, stretch: Stretch) -> Progress:  # noqa: ANN401 - click's bar has no public type
    """Moves the bar to an instant of this stretch, never back."""
    at = stretch[0]

    def moved(to: int) -> None:
        nonlocal at
        bar.update(max(0, to - at))
        at = max(at, to)

    return moved
