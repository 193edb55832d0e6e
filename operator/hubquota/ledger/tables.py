"""The tables of the ledger, the same in SQLite and PostgreSQL.

Times are microseconds since 1970-01-01T00:00:00Z, amounts base units: integers of 64 bits, so that nothing is rounded
on its way. Every pair of ``start`` and ``end`` is a stretch that holds from start to just before end; an end that is
NULL is not known to have come. A hub is told apart by its cluster and namespace.
"""

from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from hubquota.domain.history import DecisionKind, HowEnded

#: Names of constraints that do not depend on the database, so that migrations can name them.
metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
Json: Final = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def _time(name: str, **more: Any) -> Column[int]:  # noqa: ANN401 - a column's own arguments
    return Column(name, BigInteger, nullable=False, autoincrement=False, **more)


def _time_or_null(name: str) -> Column[int]:
    return Column(name, BigInteger)


def _word(name: str, **more: Any) -> Column[str]:  # noqa: ANN401 - a column's own arguments
    """Text that is always there; empty where there is nothing to say. Of no fixed length: names come from outside."""
    return Column(name, Text, nullable=False, **more)


class Word(TypeDecorator[str]):
    """One of a list of words, not a type of the database: a newer version adds some without locking a table.

    A word that this version does not know is read as it is, so that it spoils no other row.
    """

    impl = String(32)
    cache_ok = True

    def __init__(self, kind: type[StrEnum]) -> None:
        super().__init__()
        self.kind = kind
        self._members = {member.value: member for member in kind}

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Only words of the list are written. Raises ValueError for others."""
        return None if value is None else self.kind(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """The member of the list, where it is one."""
        return None if value is None else self._members.get(value, value)


def _one_of(kind: type[StrEnum]) -> Word:
    return Word(kind)


pods: Final = Table(
    "pods",
    metadata,
    _word("uid", primary_key=True),
    _word("cluster"),
    _word("hub"),
    _word("name"),
    Column("user", Text),  # NULL: nobody's
    Column("server", Text),  # NULL: not a server; empty: the user's default server
    _word("component"),
    _word("component_name"),
    _word("instance_type"),
    _word("image"),
    Column("node", Text),
    Column("node_labels", Json),
    _word("hook_version"),
    _word("decision"),
    Column("chosen_group", Text),
    _time("scheduled"),
    _time_or_null("deletion"),  # the instant by which it was told to be gone
    _time_or_null("finished"),
    Column("how_ended", _one_of(HowEnded)),
    Column("estimated", Boolean, nullable=False),
    _time_or_null("bound"),  # of an estimated end: the instant at which the pod was known to be gone
    _time("first_seen"),
    _time("last_seen"),
    Column("backfilled", Boolean, nullable=False),
    # Of a pod that ended and held the same all its life: what it held and which groups paid, as the engine counts it,
    # so that a start need not read the segments of a million pods. NULL: read the segments.
    Column("digest", Text),
    # With all that a start reads of a pod that is over, so that it reads nothing but the index.
    Index("ix_pods_hub_finished", "cluster", "hub", "finished", "last_seen", "user", "scheduled", "digest"),
    Index("ix_pods_hub_user_finished", "cluster", "hub", "user", "finished"),
)

pod_groups: Final = Table(
    "pod_groups",
    metadata,
    Column("uid", Text, ForeignKey(pods.c.uid, ondelete="CASCADE"), primary_key=True),
    _word("group", primary_key=True),
)

segments: Final = Table(
    "segments",
    metadata,
    Column("uid", Text, ForeignKey(pods.c.uid, ondelete="CASCADE"), primary_key=True),
    _word("resource", primary_key=True),
    _time("start", primary_key=True),
    _time_or_null("end"),
    Column("request", BigInteger, nullable=False),
    Column("limit", BigInteger),  # NULL: none
)

hubs: Final = Table(
    "hubs",
    metadata,
    _word("cluster", primary_key=True),
    _word("hub", primary_key=True),
    _time("covered_since"),  # usage before it is unknown, never 0
)

#: Stretches that were read from Prometheus without a hole; they may overlap. Which pods they brought, the pods say.
backfills: Final = Table(
    "backfills",
    metadata,
    _word("cluster", primary_key=True),
    _word("hub", primary_key=True),
    _time("start", primary_key=True),
    _time("end"),
    _word("source"),
    Column("interval", BigInteger, nullable=False),  # between two scrapes
    _time("recorded"),
)

hub_users: Final = Table(
    "hub_users",
    metadata,
    _word("cluster", primary_key=True),
    _word("hub", primary_key=True),
    _word("user", primary_key=True),
    _time("start", primary_key=True),
    _time_or_null("end"),
    _time_or_null("groups_at"),  # the newest sight of the user's groups
)

memberships: Final = Table(
    "memberships",
    metadata,
    _word("cluster", primary_key=True),
    _word("hub", primary_key=True),
    _word("user", primary_key=True),
    _word("group", primary_key=True),
    _time("start", primary_key=True),
    _time_or_null("end"),
    Index("ix_memberships_group", "cluster", "hub", "group"),
)

policy_revisions: Final = Table(
    "policy_revisions",
    metadata,
    _word("uid", primary_key=True),
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    _word("cluster"),
    _word("hub"),
    _word("name"),
    Column("spec", Json, nullable=False),
    _time("start"),
    _time_or_null("end"),
    Index("ix_policy_revisions_hub", "cluster", "hub"),
)

decisions: Final = Table(
    "decisions",
    metadata,
    _word("id", primary_key=True),
    _word("cluster"),
    _word("hub"),
    _word("user"),
    _word("server"),
    Column("kind", _one_of(DecisionKind), nullable=False),
    _time("at"),
    Column("request", Json, nullable=False),
    Column("quotas", Json, nullable=False),
    _word("message"),
    _word("profile", server_default=text("''")),
    _word("group", server_default=text("''")),
    Index("ix_decisions_hub_at", "cluster", "hub", "at"),
    Index("ix_decisions_hub_user_at", "cluster", "hub", "user", "at"),
)

#: How many decisions each policy made, so that a start need not count them, and pruning takes none away.
decision_counts: Final = Table(
    "decision_counts",
    metadata,
    _word("cluster", primary_key=True),
    _word("hub", primary_key=True),
    _word("policy", primary_key=True),  # its uid
    Column("kind", _one_of(DecisionKind), primary_key=True),
    Column("count", BigInteger, nullable=False),
)

#: Append-only: one that was wrong is voided, not edited. Empty until grants exist.
adjustments: Final = Table(
    "adjustments",
    metadata,
    _word("id", primary_key=True),
    _word("cluster"),
    _word("hub"),
    Column("user", Text),  # either a user
    Column("group", Text),  # or a group
    _word("resource"),
    Column("amount", String(64), nullable=False),  # base units x microseconds: more than 64 bits, in decimal digits
    _time("start"),
    _time_or_null("until"),
    _word("reason"),
    _word("by"),
    _word("source"),
    _time("recorded"),
    _time_or_null("voided"),
    Column("voided_by", Text),
    Index("ix_adjustments_hub_user", "cluster", "hub", "user"),
)

#: What admins changed by ``hubquota ledger``: append-only. Columns that changed, as they were and as they are now.
changes: Final = Table(
    "changes",
    metadata,
    _word("id", primary_key=True),
    _word("cluster"),
    _word("hub"),
    _time("at"),
    _word("by"),
    _word("action"),
    _word("what"),  # uid of a pod or policy, or name of a user
    Column("before", Json),  # NULL: it was not there
    Column("after", Json),  # NULL: it is gone
    _word("reason"),
    Index("ix_changes_hub_at", "cluster", "hub", "at"),
)

#: The writer of each scope (the Lease's cluster and namespace): a write with an older number than this is refused.
writers: Final = Table(
    "writers",
    metadata,
    _word("scope", primary_key=True),
    Column("number", BigInteger, nullable=False),
    _word("holder"),
    _time("since"),
)
