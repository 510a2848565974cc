"""Adds the record of schema changes, and the functions that take permits in one statement on PostgreSQL.

The conventions of migrations are in `adwarm.store.migration_scripts`.
"""

import sqlalchemy as sa
from alembic import op

from adwarm.store.migrations import permit_functions
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
    """Add the table, which starts empty, and the functions; SQLite has none."""
    op.create_table(
        "schema_change",
        sa.Column("revision", sa.String(length=32), nullable=False),
        sa.Column("compatible_from", sa.String(length=32), nullable=False),
        sa.Column("applied_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_schema_change")),
    )
    _run_on_postgresql(permit_functions.CREATE_FUNCTIONS)


def downgrade() -> None:
    """Drop the functions and the table."""
    _run_on_postgresql(permit_functions.DROP_FUNCTIONS)
    op.drop_table("schema_change")


def _run_on_postgresql(statements: tuple[str, ...]) -> None:
    if op.get_context().dialect.name == "postgresql":
        for statement in statements:
            op.execute(statement)
