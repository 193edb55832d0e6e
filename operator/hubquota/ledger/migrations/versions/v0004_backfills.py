"""What was read from Prometheus: which stretches, when, from where."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "backfills",
        sa.Column("cluster", sa.Text, nullable=False),
        sa.Column("hub", sa.Text, nullable=False),
        sa.Column("start", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("end", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("interval", sa.BigInteger, nullable=False),
        sa.Column("recorded", sa.BigInteger, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("cluster", "hub", "start", name="pk_backfills"),
    )
