"""Adds the hits of the cache of decoded documents, and how long reads and compression took, in buckets.

The conventions of migrations are in `adwarm.store.migration_scripts`.
"""

import sqlalchemy as sa
from alembic import op

revision = "13"
down_revision = "12"
branch_labels = None
depends_on = None

COMPATIBLE_FROM = "9"  # older code leaves the column at its default and does not know the table


def upgrade() -> None:
    """Add the column, and create the table."""
    op.add_column("compression_day", sa.Column("cache_hits", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "latency_count",
        sa.Column("since", sa.DateTime(timezone=True), primary_key=True),
        sa.Column("operation", sa.String(24), primary_key=True),
        sa.Column("bucket", sa.Integer(), primary_key=True),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Drop the table, and the column."""
    op.drop_table("latency_count")
    op.drop_column("compression_day", "cache_hits")
