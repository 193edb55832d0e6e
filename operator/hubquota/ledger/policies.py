"""What the ledger has of policies that are in force."""

from sqlalchemy import and_
from sqlalchemy.ext.asyncio import AsyncConnection

from hubquota.domain.history import PolicyRevision
from hubquota.ledger.chronicle import revisions
from hubquota.ledger.tables import policy_revisions


async def open_policies(connection: AsyncConnection, cluster: str, hub: str) -> list[PolicyRevision]:
    """The generations that hold now, as far as the ledger knows."""
    t = policy_revisions
    return await revisions(connection, and_(t.c.cluster == cluster, t.c.hub == hub, t.c.end.is_(None)))
