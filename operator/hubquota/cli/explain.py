"""``hubquota explain``."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hubquota.cli import decided
from hubquota.cli.asking import Instant, config_option, hub_of, hub_option, ledger_of, now, output_option, settings_of
from hubquota.cli.tables import table
from hubquota.domain.explaining import Counted, Explanation, PolicyExplained, QuotaExplained
from hubquota.domain.explaining import explain as explained
from hubquota.domain.history import DecisionRecord, PolicyRevision
from hubquota.domain.metering import Meter
from hubquota.domain.pods import rfc3339
from hubquota.domain.policy import Policy
from hubquota.domain.replaying import known_at
from hubquota.domain.units import decimal, for_people
from hubquota.domain.windows import DAY
from hubquota.resources.policy import PolicySpec, to_policy
from hubquota.resources.status import granted, over, quota_json, user_status
from hubquota.resources.wording import printable

if TYPE_CHECKING:
    from hubquota.ledger import Ledger

#: Nothing older can count in any window: the longest is 400 days, or a year and a day.
_REACH = 401 * DAY


@click.command()
@click.argument("user")
@config_option
@hub_option
@click.option("--at", type=Instant(), help="As it was at this instant. Without it: now.")
@output_option
def explain(user: str, files: tuple[Path, ...], hub: str | None, at: int | None, output: str) -> None:
    """Explain where USER stands: which policies hold and why, which pods were counted, and the arithmetic.

    Reads the ledger alone, no cluster; policies, groups and pods are those of the instant, and so is what hooks decided
    of launches within ten minutes of it.
    """
    found = asyncio.run(_explain(user, files, hub, now() if at is None else at))
    click.echo(json.dumps(as_json(found), indent=2) if output == "json" else as_text(found))


@dataclass(frozen=True)
class Explained:
    """One user at one instant: what the engine says of it, the policies as they stood, and what hooks decided then."""

    told: Explanation
    revisions: dict[str, PolicyRevision]
    decisions: list[DecisionRecord]


async def _explain(user: str, files: tuple[Path, ...], hub: str | None, at: int) -> Explained:
    async with ledger_of(settings_of(files)) as ledger:
        namespace = await hub_of(ledger, hub)
        revisions = await _revisions(ledger, namespace, at)
        policies = _policies(revisions.values())
        groups = (await ledger.groups_at(namespace, at)).get(user, frozenset())
        mine = [
            known for p in await ledger.pods_of(namespace, user, at - _REACH) if (known := known_at(p, at)) is not None
        ]
        if not mine and user not in await ledger.users(namespace):
            raise click.ClickException(f"the ledger knows no user “{printable(user)}” of the hub {namespace}")
        meter = Meter(await ledger.covered(namespace, at))
        if any(p.shared for p in policies):
            meter.take(
                [k async for p in ledger.pods_since(namespace, at - _REACH) if (k := known_at(p, at)) is not None]
            )
        else:
            meter.take(mine)
        told = explained(meter, mine, policies, user, groups, at)
        around = await ledger.decisions_of(namespace, user, at - decided.AROUND, at + decided.AROUND + 1)
        return Explained(told, revisions, around)


async def _revisions(ledger: "Ledger", hub: str, at: int) -> dict[str, PolicyRevision]:
    """The policies as they stood at an instant, by name."""
    told = await ledger.policy_revisions(hub)
    return {r.name: r for r in told if r.start <= at and (r.end is None or at < r.end)}


def _policies(revisions: Iterable[PolicyRevision]) -> list[Policy]:
    """Those that held; those that were not valid were not applied."""
    found = []
    for revision in revisions:
        try:
            found.append(to_policy(revision.name, PolicySpec.model_validate(revision.spec)))
        except ValueError:
            continue
    return found


def as_text(explained: Explained) -> str:
    """The explanation for people."""
    found, standing = explained.told, explained.told.standing
    parts = [f"{printable(found.user)} at {rfc3339(standing.at)}: a launch would be {standing.verdict.lower()}"]
    parts.append(f"groups: {printable(', '.join(sorted(found.groups))) or 'none'}")
    parts += [_quota_text(quota) for quota in found.quotas]
    rows = [
        (p.policy.name, granted(p.policy), _here(p), p.why, p.role, *_stood(explained.revisions[p.policy.name]))
        for p in found.policies
    ]
    heads = ("NAME", "QUOTA", "HERE", "WHY", "ROLE", "GENERATION", "SINCE", "UNTIL")
    parts.append("policies\n" + table(heads, rows, "  "))
    parts.append(decided.as_text(explained.decisions, standing.at))
    return "\n\n".join(parts)


def _here(policy: PolicyExplained) -> str:
    return "holds" if policy.holds else "does not hold"


def _stood(revision: PolicyRevision) -> tuple[str, str, str]:
    """Which version of a policy it was, and from when to when it stood."""
    end = "" if revision.end is None else rfc3339(revision.end)
    return str(revision.generation), rfc3339(revision.start), end


def as_json(explained: Explained) -> dict[str, Any]:
    """The explanation for programs: the status, what it came from, and what hooks decided around it."""
    found, stood = explained.told, {name: _stood(r) for name, r in explained.revisions.items()}
    return {
        "user": found.user,
        "groups": sorted(found.groups),
        "status": user_status(found.standing, [], 0),
        "policies": [
            {"name": p.policy.name, "holds": p.holds, "why": p.why, "role": p.role}
            | {"generation": int(stood[p.policy.name][0]), "since": stood[p.policy.name][1]}
            | ({"until": stood[p.policy.name][2]} if stood[p.policy.name][2] else {})
            for p in found.policies
        ],
        "quotas": [_quota_json(quota) for quota in found.quotas],
        "decisions": decided.as_json(explained.decisions),
    }


def _quota_text(found: QuotaExplained) -> str:
    state, first = found.state, found.state.quota.first
    unit = first.unit
    used = "not known" if state.used is None else for_people(decimal(state.used, unit))
    limit = for_people(decimal(state.limit, unit))
    head = f"{first.resource}: {used} of {limit} {unit}{over(first)} (policy {state.quota.name}"
    head += f", {state.quota.enforcement}{', shared by all in scope' if first.shared else ''})"
    lines = [head]
    if found.opened is not None:
        lines.append(f"  counted from {rfc3339(found.opened)}; known since {rfc3339(state.covered_since)}")
    if found.counted:
        lines.append(
            table(("POD", "SERVER", "FROM", "TO", "HOURS", unit.upper()), [_row(c, unit) for c in found.counted], "  ")
        )
        mine = decimal(sum(c.used for c in found.counted), unit)
        lines.append(
            f"  sum {mine} {unit}" + (f" of the pool's {decimal(state.used or 0, unit)}" if first.shared else "")
        )
    lines += [
        f"  used up from {b['from']} " + (f"to {b['until']}" if "until" in b else "on")
        for b in quota_json(state)["blocked"]
    ]
    return "\n".join(lines)


def _row(c: Counted, unit: str) -> tuple[str, ...]:
    hours = decimal((c.end - c.start) * 1000, "hours")
    until = "runs" if c.runs else rfc3339(c.end)
    return (c.pod.name, c.pod.server or "", rfc3339(c.start), until, hours, decimal(c.used, unit))


def _quota_json(found: QuotaExplained) -> dict[str, Any]:
    unit = found.state.quota.first.unit
    counted = [
        {"pod": c.pod.name, "uid": c.pod.uid, "server": c.pod.server, "from": rfc3339(c.start), "to": rfc3339(c.end)}
        | {"runs": c.runs, "held": c.amount, "used": decimal(c.used, unit)}
        for c in found.counted
    ]
    told = {
        "state": quota_json(found.state),
        "counted": counted,
        "sum": decimal(sum(c.used for c in found.counted), unit),
    }
    return told if found.opened is None else told | {"countedFrom": rfc3339(found.opened)}
