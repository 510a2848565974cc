"""Adds the causes of calls, and whether a strategy warms only what was opened.

The conventions of migrations are in `adwarm.store.migration_scripts`.
"""

import sqlalchemy as sa
from alembic import op

revision = "12"
down_revision = "11"
branch_labels = None
depends_on = None

COMPATIBLE_FROM = "9"  # older code counts no causes, and warms every report of a strategy


def upgrade() -> None:
    """Add the table, which starts empty, and the column; it is NULL until the strategy is saved or planned."""
    op.create_table(
        "call_hour",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("strategy", sa.String(length=80), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "cause", "strategy", name=op.f("pk_call_hour")),
    )
    op.add_column("strategy", sa.Column("opened_only", sa.Boolean(), nullable=True))


def downgrade() -> None:
    """Drop both."""
    op.drop_column("strategy", "opened_only")
    op.drop_table("call_hour")
