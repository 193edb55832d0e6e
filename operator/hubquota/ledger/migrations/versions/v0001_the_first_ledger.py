"""The first ledger: pods, users, policies, decisions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Make all tables."""
    _pods()
    _parts_of_pods()
    _hubs()
    _policies()
    _decisions()
    _adjustments()


def _pods() -> None:
    op.create_table(
        "pods",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("hub", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("user", sa.Text()),
        sa.Column("server", sa.Text()),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("component_name", sa.Text(), nullable=False),
        sa.Column("instance_type", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("node", sa.Text()),
        sa.Column("node_labels", _JSON),
        sa.Column("hook_version", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("chosen_group", sa.Text()),
        sa.Column("scheduled", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("deletion", sa.BigInteger()),
        sa.Column("finished", sa.BigInteger()),
        sa.Column("how_ended", sa.String(32)),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("bound", sa.BigInteger()),
        sa.Column("first_seen", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_seen", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("backfilled", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("uid", name="pk_pods"),
    )
    op.create_index("ix_pods_hub_finished", "pods", ["cluster", "hub", "finished"])
    op.create_index("ix_pods_hub_user_finished", "pods", ["cluster", "hub", "user", "finished"])


def _parts_of_pods() -> None:
    op.create_table(
        "pod_groups",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("group", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["uid"], ["pods.uid"], name="fk_pod_groups_uid", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uid", "group", name="pk_pod_groups"),
    )
    op.create_table(
        "segments",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end", sa.BigInteger()),
        sa.Column("request", sa.BigInteger(), nullable=False),
        sa.Column("limit", sa.BigInteger()),
        sa.ForeignKeyConstraint(["uid"], ["pods.uid"], name="fk_segments_uid", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uid", "resource", "start", name="pk_segments"),
    )


def _hubs() -> None:
    op.create_table(
        "hubs",
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("hub", sa.Text(), nullable=False),
        sa.Column("covered_since", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("cluster", "hub", name="pk_hubs"),
    )
    op.create_table(
        "hub_users",
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("hub", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end", sa.BigInteger()),
        sa.Column("groups_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("cluster", "hub", "user", "start", name="pk_hub_users"),
    )
    op.create_table(
        "memberships",
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("hub", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("group", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end", sa.BigInteger()),
        sa.PrimaryKeyConstraint("cluster", "hub", "user", "group", "start", name="pk_memberships"),
    )
    op.create_index("ix_memberships_group", "memberships", ["cluster", "hub", "group"])


def _policies() -> None:
    op.create_table(
        "policy_revisions",
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("hub", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("spec", _JSON, nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("end", sa.BigInteger()),
        sa.PrimaryKeyConstraint("uid", "generation", name="pk_policy_revisions"),
    )
    op.create_index("ix_policy_revisions_hub", "policy_revisions", ["cluster", "hub"])


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("hub", sa.Text(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("server", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("request", _JSON, nullable=False),
        sa.Column("quotas", _JSON, nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
    )
    op.create_index("ix_decisions_hub_at", "decisions", ["cluster", "hub", "at"])


def _adjustments() -> None:
    op.create_table(
        "adjustments",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("cluster", sa.Text(), nullable=False),
        sa.Column("hub", sa.Text(), nullable=False),
        sa.Column("user", sa.Text()),
        sa.Column("group", sa.Text()),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("amount", sa.String(64), nullable=False),
        sa.Column("start", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("recorded", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("voided", sa.BigInteger()),
        sa.Column("voided_by", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_adjustments"),
    )
    op.create_index("ix_adjustments_hub_user", "adjustments", ["cluster", "hub", "user"])
    op.create_table(
        "writers",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("since", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("scope", name="pk_writers"),
    )
