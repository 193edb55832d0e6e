"""A digest of each pod that is over, so that a start need not read the segments of a million pods.

Pods from before have none; their segments are read.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and an index that holds all that a start reads."""
    with op.batch_alter_table("pods") as pods:
        pods.add_column(sa.Column("digest", sa.Text))
        pods.drop_index("ix_pods_hub_finished")
        columns = ["cluster", "hub", "finished", "last_seen", "user", "scheduled", "digest"]
        pods.create_index("ix_pods_hub_finished", columns)
