"""Mending what an audit found, each with a record of what was changed."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.ledger.auditing.changes import Change, note
from hubquota.ledger.auditing.findings import Finding
from hubquota.ledger.ledger import Ledger

_ACTION = "repair"


@dataclass(frozen=True, slots=True)
class Repaired:
    """What became of findings. ``stale``: the ledger says something else by now than what was found."""

    mended: list[Finding] = field(default_factory=list)
    stale: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)


async def repair(ledger: Ledger, findings: Iterable[Finding], at: int, by: str) -> Repaired:
    """Mend what can be mended. Each mend is a transaction of its own, so that an operator is never locked out.

    ``at``: now; ``by``: who asked for it. Raises SQLAlchemyError; what was mended until then is, and is recorded.
    """
    done = Repaired()
    for finding in findings:
        if finding.mend is None:
            done.left.append(finding)
        elif await _mend(ledger, finding, at, by):
            done.mended.append(finding)
        else:
            done.stale.append(finding)
    return done


async def _mend(ledger: Ledger, finding: Finding, at: int, by: str) -> bool:
    async def work(connection: AsyncConnection) -> bool:
        mended = await finding.mend.apply(connection) if finding.mend is not None else None
        if mended is None:
            return False
        reason = f"{finding.kind}: {finding.found}"
        change = Change(finding.hub, at, by, _ACTION, finding.what, mended.before, mended.after, reason)
        await note(connection, ledger.cluster, change)
        return True

    try:
        return await ledger.writing(work)
    except IntegrityError:  # an operator took it in at the same moment
        return False
