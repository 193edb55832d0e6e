"""``hubquota replay``."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from hubquota.cli.asking import Instant, now, output_option
from hubquota.cli.tables import table
from hubquota.domain.pods import rfc3339
from hubquota.domain.policy import Enforcement, Policy
from hubquota.domain.replaying import Replay, Replayed
from hubquota.domain.standing import QuotaState
from hubquota.domain.units import for_people
from hubquota.files import pod_history, policy_files
from hubquota.resources.status import granted, over, quota_json, user_status, who
from hubquota.resources.wording import printable

#: Denied launches that a table lists; JSON has them all.
_LISTED = 20


@dataclass
class Denials:
    """What one policy would have done to the launches of a stretch of time."""

    launches: int = 0
    users: "Counter[str]" = field(default_factory=Counter)

    def add(self, launch: Replayed) -> None:
        """One more launch that it would have denied (or warned of, or observed)."""
        self.launches += 1
        self.users[launch.pod.user or ""] += 1


@click.command()
@click.option(
    "--pods",
    "history",
    required=True,
    type=click.Path(path_type=Path),
    help="A pod history, as `hubquota export` writes.",
)
@click.option(
    "--policies", "folder", required=True, type=click.Path(path_type=Path), help="A folder (or file) of QuotaPolicies."
)
@click.option(
    "--groups",
    type=click.Path(path_type=Path),
    help="A JSON file: for each user a list of groups, instead of those at their last launch.",
)
@click.option("--at", type=Instant(), help="The instant of the standings. Without it: now, or the end of the stretch.")
@click.option("--from", "start", type=Instant(), help="Judge all launches from this instant on ...")
@click.option("--to", "end", type=Instant(), help="... up to just before this one. Without it: --at, or now.")
@output_option
def replay(
    history: Path, folder: Path, groups: Path | None, at: int | None, start: int | None, end: int | None, output: str
) -> None:
    """Say where everybody would stand by policies that you are thinking of, and which launches they would have denied.

    Works on files alone: no cluster, no ledger. Each launch is judged by usage as it really was.
    """
    try:
        policies = policy_files.read(folder)
        replayed = Replay(pod_history.read(history), policies, None if groups is None else _groups(groups))
    except (policy_files.PolicyFileError, pod_history.HistoryError) as fault:
        raise click.ClickException(printable(str(fault))) from fault
    instant = at if at is not None else end if end is not None else now()
    launches = [] if start is None else list(replayed.launches(start, instant if end is None else end))
    denied = [launch for launch in launches if not launch.verdict.allowed]
    if output == "json":
        click.echo(json.dumps(_as_json(replayed, policies, launches, denied, instant), indent=2))
        return
    click.echo(_standings(replayed, instant))
    if start is not None:
        click.echo(_denials(policies, launches, denied))


def _groups(file: Path) -> dict[str, frozenset[str]]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(told, dict) or not all(isinstance(names, list) for names in told.values()):
            raise ValueError("it is not an object of lists")
    except (OSError, ValueError) as fault:
        raise click.ClickException(f'{file}: {fault}: write {{"alice": ["students"]}}') from fault
    return {user: frozenset(map(str, names)) for user, names in told.items()}


def _standings(replayed: Replay, at: int) -> str:
    """Users, then pools."""
    standings = {user: user_status(standing, [], 0) for user, standing in replayed.standings(at).items()}
    rows = [(user, told["decision"], told["summary"]) for user, told in standings.items()]
    text = f"where everybody stands at {rfc3339(at)}\n" + table(("USER", "LAUNCH", "STANDING"), rows)
    pools = [(name, *_pool(state, at)) for name, state in replayed.pools(at).items()]
    return text + ("\n\n" + table(("POOL", "LAUNCH", "STANDING"), pools) if pools else "")


def _pool(state: QuotaState, at: int) -> tuple[str, str]:
    told = quota_json(state)
    verdict = "Denied" if state.blocked_at(at) and state.quota.enforcement is Enforcement.DENY else "Allowed"
    return verdict, f"{for_people(told['used'])} of {for_people(told['limit'])} {told['unit']}{over(state.quota.first)}"


def _denials(policies: Iterable[Policy], launches: Sequence[Replayed], denied: Sequence[Replayed]) -> str:
    told = by_policy(launches)
    rows = [
        (p.name, who(p.scope), granted(p), str(p.enforcement), str(told[p.name].launches), str(len(told[p.name].users)))
        for p in policies
    ]
    counts = f"{len(launches)} launches, of which {len(denied)} would have been denied"
    text = f"\n{counts}; those that met a policy used up:\n"
    text += table(("POLICY", "WHO", "QUOTA", "WHEN USED UP", "LAUNCHES", "USERS"), rows)
    if denied:
        listed = [(rfc3339(d.pod.scheduled), d.pod.user or "", d.pod.name, _names(d), _until(d)) for d in denied]
        text += f"\n\n{table(('AT', 'USER', 'POD', 'POLICIES', 'WORKS AGAIN'), listed[:_LISTED])}"
        text += f"\n... and {len(denied) - _LISTED} more (--output json has all)" if len(denied) > _LISTED else ""
    return text


def by_policy(launches: Iterable[Replayed]) -> dict[str, Denials]:
    """For each policy the launches that met it used up: denied, warned of, or only observed, as it says."""
    told: dict[str, Denials] = {}
    for launch in launches:
        verdict = launch.verdict
        for state in (*verdict.refusing, *verdict.warning, *verdict.shadow_refusing):
            names = [state.quota.name] if state.quota.observed else [p.name for p in state.quota.deciders]
            for name in names:
                told.setdefault(name, Denials()).add(launch)
    return _Default(told)


class _Default(dict[str, Denials]):
    def __missing__(self, name: str) -> Denials:
        return Denials()


def _as_json(
    replayed: Replay, policies: Iterable[Policy], launches: list[Replayed], denied: list[Replayed], at: int
) -> dict[str, Any]:
    told = by_policy(launches)
    return {
        "at": rfc3339(at),
        "users": {user: user_status(standing, [], 0) for user, standing in replayed.standings(at).items()},
        "pools": {name: quota_json(state) for name, state in replayed.pools(at).items()},
        "launches": len(launches),
        "policies": {
            p.name: {
                "enforcement": str(p.enforcement),
                "launches": told[p.name].launches,
                "users": dict(told[p.name].users.most_common()),
            }
            for p in policies
        },
        "denied": [
            {
                "at": rfc3339(d.pod.scheduled),
                "user": d.pod.user,
                "server": d.pod.server,
                "pod": d.pod.name,
                "policies": [state.quota.name for state in d.verdict.refusing],
            }
            | ({} if d.verdict.until is None else {"until": rfc3339(d.verdict.until)})
            for d in denied
        ],
    }


def _names(launch: Replayed) -> str:
    return ", ".join(state.quota.name for state in launch.verdict.refusing)


def _until(launch: Replayed) -> str:
    return "not foreseen" if launch.verdict.until is None else rfc3339(launch.verdict.until)
