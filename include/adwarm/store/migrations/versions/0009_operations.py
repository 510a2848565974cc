"""Adds the record of schema changes.

The conventions of migrations are in `adwarm.store.migration_scripts`.
"""

import sqlalchemy as sa
from alembic import op

from adwarm.store.online_indexes import ConcurrentIndex

revision = "9"
down_revision = "8"
branch_labels = None
depends_on = None

COMPATIBLE_FROM = "9"  # code of schema 8 does not read this, and stops
INDEXES: tuple[ConcurrentIndex, ...] = (
    ConcurrentIndex(
        "ix_capacity_scope_parked_until", "capacity_scope", ("parked_until",), where="parked_until IS NOT NULL"
    ),
    ConcurrentIndex("ix_capacity_scope_shared", "capacity_scope", ("scope",), where="scope NOT LIKE 'account:%'"),
)
"""Indexes on existing tables, built before `upgrade` without blocking writers."""

_TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the table, which starts empty."""
    op.create_table(
        "schema_change",
        sa.Column("revision", sa.String(length=32), nullable=False),
        sa.Column("compatible_from", sa.String(length=32), nullable=False),
        sa.Column("applied_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_schema_change")),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("schema_change")
