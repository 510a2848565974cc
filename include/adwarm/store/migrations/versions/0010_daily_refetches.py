"""Adds how many fetches of stored reports a token of the read API may cause a day, and their count.

The conventions of migrations are in `adwarm.store.migration_scripts`.
"""

import sqlalchemy as sa
from alembic import op

revision = "10"
down_revision = "9"
branch_labels = None
depends_on = None

COMPATIBLE_FROM = "9"  # code of schema 9 leaves both columns at their defaults


def upgrade() -> None:
    """Add the columns; tokens that exist get the default."""
    op.add_column("access_token", sa.Column("daily_refetches", sa.Integer(), nullable=False, server_default="1000"))
    op.add_column("token_day", sa.Column("refetches", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("token_day", "refetches")
    op.drop_column("access_token", "daily_refetches")
