"""Adds the load of the machines that make calls, which limits their concurrency.

The conventions of migrations are in `adwarm.store.migration_scripts`.
"""

import sqlalchemy as sa
from alembic import op

revision = "11"
down_revision = "10"
branch_labels = None
depends_on = None

COMPATIBLE_FROM = "9"  # older code does not know the table


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "machine_load",
        sa.Column("machine", sa.String(60), primary_key=True),
        sa.Column("read_at", sa.Float(), nullable=False),
        sa.Column("memory_percent", sa.Float(), nullable=False),
        sa.Column("cpu_percent", sa.Float()),
        sa.Column("cpu_busy", sa.Float(), nullable=False),
        sa.Column("cpu_total", sa.Float(), nullable=False),
        sa.Column("is_high", sa.Boolean(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("limit", sa.Integer()),
        sa.Column("full", sa.Integer()),
        sa.Column("limited_at", sa.Float()),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("machine_load")
