"""Adds the functions that take permits in one statement on PostgreSQL."""

from alembic import op

from adwarm.store.migrations import permit_functions

revision = "9"
down_revision = "8"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the functions; SQLite has none."""
    _run_on_postgresql(permit_functions.CREATE)


def downgrade() -> None:
    """Drop the functions."""
    _run_on_postgresql(permit_functions.DROP)


def _run_on_postgresql(statements: tuple[str, ...]) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for statement in statements:
            op.execute(statement)
