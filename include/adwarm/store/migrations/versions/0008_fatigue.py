"""Adds alarms of ads, what scores were computed from, priors by account and month, and the platform's own notices."""

import sqlalchemy as sa
from alembic import op

revision = "8"
down_revision = "7"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_FLOATS = (
    "days_to_critical",
    "days_to_critical_low",
    "days_to_critical_high",
    "evidence",
    "cost_ratio",
    "recent_spend",
)
_SCORE_INDEX = "ix_fatigue_score_account_id_as_of_ad_id_status_total"
_SCORE_COLUMNS = ["account_id", "as_of", "ad_id", "status", "total"]
_NEWEST_INDEX = "ix_fatigue_score_newest"
_AD_ID_LENGTH, _OLD_AD_ID_LENGTH = 64, 24
"""A table of one's own may have ids of as many characters as a row may have."""


def upgrade() -> None:
    """Add the columns and tables; earlier scores have no alarm."""
    op.add_column("fatigue_score", sa.Column("driver", sa.String(16)))
    for name in _FLOATS:
        op.add_column("fatigue_score", sa.Column(name, sa.Float()))
    for name in ("alarm_since", "onset"):
        op.add_column("fatigue_score", sa.Column(name, sa.Date()))
    op.add_column("fatigue_score", sa.Column("alarm", sa.String(8), nullable=False, server_default="none"))
    op.add_column("fatigue_score", sa.Column("input_hash", sa.String(16), nullable=False, server_default=""))
    op.drop_index(_SCORE_INDEX, "fatigue_score")
    _resize_ad_id(_OLD_AD_ID_LENGTH, _AD_ID_LENGTH)
    op.create_index(
        _NEWEST_INDEX, "fatigue_score", [*_SCORE_COLUMNS, "alarm", "recent_spend", "days_to_critical"], unique=False
    )
    _create_inputs()
    _create_notices()


def _create_inputs() -> None:
    op.create_table(
        "fatigue_prior",
        sa.Column("account_id", sa.String(24), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("input_hash", sa.String(16), nullable=False),
        sa.Column("data_version", sa.Integer(), nullable=False),
        sa.Column("stored_days", sa.Integer(), nullable=False),
        sa.Column("calculator_version", sa.String(24), nullable=False),
        sa.Column("calculated_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "month", "version", name=op.f("pk_fatigue_prior")),
    )
    op.create_index(op.f("ix_fatigue_prior_month"), "fatigue_prior", ["month"])
    op.create_table(
        "fatigue_day",
        sa.Column("account_id", sa.String(24), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("input_hash", sa.String(16), nullable=False),
        sa.Column("data_hash", sa.String(16), nullable=False),
        sa.Column("data_version", sa.Integer(), nullable=False),
        sa.Column("stored_days", sa.Integer(), nullable=False),
        sa.Column("frequency_source", sa.String(16), nullable=False),
        sa.Column("frequency_hash", sa.String(16), nullable=False),
        sa.Column("calculator_version", sa.String(24), nullable=False),
        sa.Column("calculated_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "as_of", name=op.f("pk_fatigue_day")),
    )
    op.create_index(op.f("ix_fatigue_day_as_of"), "fatigue_day", ["as_of"])


def _create_notices() -> None:
    op.create_table(
        "fatigue_alert",
        sa.Column("account_id", sa.String(24), nullable=False),
        sa.Column("ad_id", sa.String(_AD_ID_LENGTH), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("alerted_at", _TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "ad_id", name=op.f("pk_fatigue_alert")),
    )
    op.create_index(op.f("ix_fatigue_alert_alerted_at"), "fatigue_alert", ["alerted_at"])


def downgrade() -> None:
    """Drop the tables and columns of this migration."""
    op.drop_table("fatigue_alert")
    op.drop_table("fatigue_day")
    op.drop_table("fatigue_prior")
    op.drop_index(_NEWEST_INDEX, "fatigue_score")
    score = sa.table("fatigue_score", sa.column("ad_id", sa.String))
    op.execute(score.delete().where(sa.func.length(score.c.ad_id) > _OLD_AD_ID_LENGTH))  # there is no room for them
    _resize_ad_id(_AD_ID_LENGTH, _OLD_AD_ID_LENGTH)
    with op.batch_alter_table("fatigue_score") as table:
        for name in ("input_hash", "alarm", "onset", "alarm_since", *reversed(_FLOATS), "driver"):
            table.drop_column(name)
    op.create_index(_SCORE_INDEX, "fatigue_score", _SCORE_COLUMNS, unique=False)


def _resize_ad_id(before: int, after: int) -> None:
    with op.batch_alter_table("fatigue_score") as table:
        table.alter_column("ad_id", existing_type=sa.String(before), type_=sa.String(after), existing_nullable=False)
