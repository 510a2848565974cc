"""Adds what discovery and the user say about an account, and when each connection's accounts were listed."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns, all empty, and the table."""
    for column in (
        sa.Column("name", sa.String(length=255)),
        sa.Column("last_seen_at", _TIMESTAMP),
        sa.Column("user_reader_zone", sa.String(length=64)),
        sa.Column("user_status", sa.String(length=16)),
        sa.Column("user_connection", sa.String(length=250)),
        sa.Column("holiday_country", sa.String(length=2)),
    ):
        op.add_column("account", column)
    op.create_table(
        "account_discovery",
        sa.Column("connection", sa.String(length=250), primary_key=True),
        sa.Column("credential", sa.String(length=64), nullable=False),
        sa.Column("attempted_at", _TIMESTAMP, nullable=False),
        sa.Column("completed_at", _TIMESTAMP),
        sa.Column("listed", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("is_temporary", sa.Boolean(), nullable=False),
    )


def downgrade() -> None:
    """Drop the table and the columns."""
    op.drop_table("account_discovery")
    for name in (
        "holiday_country",
        "user_connection",
        "user_status",
        "user_reader_zone",
        "last_seen_at",
        "name",
    ):
        op.drop_column("account", name)
