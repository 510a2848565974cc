"""Creates the tables of access patterns."""

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    _access_profile()
    _access_pattern()
    _popular_range()


def downgrade() -> None:
    """Drop the tables."""
    for table in ("popular_range", "access_pattern", "access_profile"):
        op.drop_table(table)


def _access_profile() -> None:
    op.create_table(
        "access_profile",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("first_opens", sa.BigInteger(), nullable=False),
        sa.Column("keys", sa.Integer(), nullable=False),
        sa.Column("observed_from", _TIMESTAMP, nullable=False),
        sa.Column("observed_until", _TIMESTAMP, nullable=False),
        sa.Column("observed_weeks", sa.Float(), nullable=False),
        sa.Column("time_zones", sa.JSON(), nullable=False),
        sa.Column("busy_hours", sa.Text(), nullable=False),
        sa.Column("peak_hours", sa.Text(), nullable=False),
        sa.Column("quiet_hours", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("computed_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_access_profile")),
    )


def _access_pattern() -> None:
    op.create_table(
        "access_pattern",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("weekday", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("weekday_name", sa.String(length=9), nullable=False),
        sa.Column("opens", sa.BigInteger(), nullable=False),
        sa.Column("observed_hours", sa.Float(), nullable=False),
        sa.Column("opens_per_hour", sa.Float(), nullable=False),
        sa.Column("active_weeks", sa.Integer(), nullable=False),
        sa.Column("is_busy", sa.Boolean(), nullable=False),
        sa.Column("is_peak", sa.Boolean(), nullable=False),
        sa.Column("is_quiet", sa.Boolean(), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=False),
        sa.Column("observed_weeks", sa.Float(), nullable=False),
        sa.Column("computed_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "weekday", "hour", name=op.f("pk_access_pattern")),
    )


def _popular_range() -> None:
    op.create_table(
        "popular_range",
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("date_range", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("opens", sa.BigInteger(), nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("computed_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "date_range", name=op.f("pk_popular_range")),
    )
