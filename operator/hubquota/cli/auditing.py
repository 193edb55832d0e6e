"""``hubquota ledger verify`` and ``hubquota ledger repair``."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from hubquota.cli.asking import by_option, config_option, ledger_of, now, output_option, settings_of
from hubquota.cli.tables import table
from hubquota.resources.wording import printable
from hubquota.settings import Settings

if TYPE_CHECKING:
    from hubquota.ledger import Ledger
    from hubquota.ledger.auditing.findings import Finding
    from hubquota.ledger.auditing.repairing import Repaired

F = TypeVar("F", bound=Callable[..., Any])

_CLEAN: Final = 0
_DIFFERENCES: Final = 1
_COULD_NOT_LOOK: Final = 2
#: Characters of what was found, in a table.
_SHOWN: Final = 160
#: Looks of a repair: what changed between a look and its mends is looked at again.
_ROUNDS: Final = 3


class CouldNotLookError(click.ClickException):
    """The ledger or the cluster cannot be looked at: nothing is known of any difference."""

    exit_code = _COULD_NOT_LOOK


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be looked at. ``grace``: seconds, None: by the settings; ``wait``: seconds."""

    files: tuple[Path, ...]
    hubs: tuple[str, ...]
    offline: bool
    grace: float | None
    wait: float


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found in these hubs: differences, what may be under way still, pods that nobody can make sense of."""

    hubs: Sequence[str]
    grace: float
    found: "list[Finding]" = field(default_factory=list)
    young: "list[Finding]" = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)


def audit_options(command: F) -> F:
    """What ``verify`` and ``repair`` both take."""
    seconds = click.FloatRange(min=0)
    options = (
        config_option,
        click.option(
            "--hub", "hubs", multiple=True, help="A hub's namespace; repeat it. Without it: all of the ledger."
        ),
        click.option("--offline", is_flag=True, help="Look at the ledger alone, at no cluster."),
        click.option(
            "--grace",
            type=seconds,
            help="Seconds that an operator may take to hear of what happened. Without it: twice its resync_interval.",
        ),
        click.option(
            "--wait",
            type=seconds,
            default=10,
            show_default=True,
            help="Seconds that a difference between ledger and cluster must last; what is under way goes.",
        ),
        output_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@audit_options
def verify(output: str, **asked: Any) -> None:  # noqa: ANN401 - the options of both
    """Compare the ledger with the cluster and with itself, and tell every difference.

    Ends with 0 where there is none, 1 where there are some, 2 where one of them could not be looked at.
    """
    with _looking():
        found = asyncio.run(_verify(Asked(**asked)))
    click.echo(json.dumps(_as_json(found), indent=2) if output == "json" else _as_text(found))
    sys.exit(_DIFFERENCES if found.found else _CLEAN)


@click.command()
@audit_options
@click.option("--dry-run", is_flag=True, help="Only tell what would be mended.")
@by_option
def repair(output: str, *, dry_run: bool, by: str, **asked: Any) -> None:  # noqa: ANN401 - the options of both
    """Mend what verify finds, as far as anybody can know what is right, and keep a record of each change.

    Nothing that was seen is changed in favour of a guess. Ends with 0 where nothing is left to mend, 1 where something
    is, 2 where one could not look.
    """
    with _looking():
        if dry_run:
            found = asyncio.run(_verify(Asked(**asked)))
            click.echo(json.dumps(_as_json(found), indent=2) if output == "json" else _as_text(found))
            sys.exit(_DIFFERENCES if found.found else _CLEAN)
        done = asyncio.run(_repair(Asked(**asked), by))
    click.echo(json.dumps(_repaired_json(done), indent=2) if output == "json" else _repaired_text(done))
    sys.exit(_DIFFERENCES if done.left or done.stale else _CLEAN)


@contextmanager
def _looking() -> Iterator[None]:
    """Whatever goes wrong here is no difference, but that nobody could look."""
    try:
        yield
    except click.ClickException as fault:
        raise CouldNotLookError(fault.message) from fault
    except Exception as fault:  # an exit code of 1 would tell of differences
        told = printable(f"{type(fault).__name__}: {fault}")
        raise CouldNotLookError(f"nothing could be looked at: {told}") from fault


async def _verify(asked: Asked) -> Audit:
    settings = settings_of(asked.files)
    async with ledger_of(settings) as ledger:
        return await _audit(ledger, settings, asked)


async def _repair(asked: Asked, by: str) -> "Repaired":
    from hubquota.ledger.auditing.repairing import Repaired
    from hubquota.ledger.auditing.repairing import repair as mended

    settings = settings_of(asked.files)
    total = Repaired()
    async with ledger_of(settings) as ledger:
        for _ in range(_ROUNDS):
            done = await mended(ledger, (await _audit(ledger, settings, asked)).found, now(), by)
            total = Repaired([*total.mended, *done.mended], done.stale, done.left)
            if not done.stale:
                break
    return total


async def _audit(ledger: "Ledger", settings: Settings, asked: Asked) -> Audit:
    from hubquota.ledger.auditing.inside import audit

    names = await _hubs(ledger, asked.hubs)
    grace = 2 * settings.resync_interval if asked.grace is None else asked.grace
    found = Audit(names, grace, await audit(ledger, asked.hubs))
    if not asked.offline:
        async with _cluster(settings) as compared:
            for hub in names:
                told = await compared(ledger, hub, int(grace * 1_000_000), asked.wait)
                found.found.extend(told.found)
                found.young.extend(told.young)
                found.set_aside.extend(told.set_aside)
    return found


async def _hubs(ledger: "Ledger", asked: Sequence[str]) -> Sequence[str]:
    known = await ledger.hubs()
    if not known:
        raise click.ClickException("the ledger knows no hub: name the operator's own database and cluster")
    if unknown := sorted(set(asked) - set(known)):
        raise click.ClickException(f"the ledger does not know {printable(', '.join(unknown))}: {', '.join(known)}")
    return list(dict.fromkeys(asked)) or known


@asynccontextmanager
async def _cluster(settings: Settings) -> AsyncIterator[Callable[..., Any]]:
    """How a hub is compared with its namespace. Raises ClickException where the cluster cannot be asked."""
    from hubquota.cluster.api import ApiError, connected
    from hubquota.cluster.comparing import Comparison

    try:
        async with connected(settings.request_timeout) as api:
            yield lambda ledger, hub, grace, wait: Comparison(api, ledger, hub, now, grace, wait).made()
    except ApiError as fault:
        told = printable(str(fault))
        raise click.ClickException(f"the cluster cannot be looked at (--offline does not need it): {told}") from fault


def _as_text(found: Audit) -> str:
    parts = []
    if found.found:
        parts.append(_count(found.found, "difference") + "\n" + _table(found.found))
    else:
        parts.append(f"no differences in {', '.join(found.hubs)}")
    if found.young:
        head = f"{len(found.young)} more, younger than {found.grace:g} s: an operator may be about to write them"
        parts.append(head + "\n" + _table(found.young))
    parts += [f"not metered: {printable(why)}" for why in found.set_aside]
    return "\n\n".join(parts)


def _repaired_text(done: "Repaired") -> str:
    parts = [_count(done.mended, "difference") + " mended" + (f"\n{_table(done.mended)}" if done.mended else "")]
    if done.mended:
        parts.append("a running operator has the old numbers in memory until it is started again")
    if done.left:
        parts.append(f"{len(done.left)} left: nobody but you can tell what is right\n{_table(done.left)}")
    if done.stale:
        parts.append(f"{len(done.stale)} changed again and again meanwhile: run it once more\n{_table(done.stale)}")
    return "\n\n".join(parts)


def _table(findings: "Iterable[Finding]") -> str:
    rows = [(f.hub, f.kind, f.name, f.what, _cut(f.found), f.mend.says if f.mend else "") for f in findings]
    return table(("HUB", "KIND", "NAME", "OF", "FOUND", "REPAIR"), rows, "  ")


def _cut(text: str) -> str:
    """What a line of a table has room for; JSON has all."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _count(findings: "Sequence[Finding]", word: str) -> str:
    return f"{len(findings)} {word}{'' if len(findings) == 1 else 's'}"


def _as_json(found: Audit) -> dict[str, Any]:
    return {
        "hubs": list(found.hubs),
        "differences": _listed(found.found),
        "young": _listed(found.young),
        "notMetered": found.set_aside,
    }


def _repaired_json(done: "Repaired") -> dict[str, Any]:
    return {"mended": _listed(done.mended), "left": _listed(done.left), "changedMeanwhile": _listed(done.stale)}


def _listed(findings: "Iterable[Finding]") -> list[dict[str, Any]]:
    return [
        {"kind": str(f.kind), "hub": f.hub, "name": f.name, "of": f.what, "found": f.found}
        | ({} if f.mend is None else {"repair": f.mend.says})
        for f in findings
    ]
