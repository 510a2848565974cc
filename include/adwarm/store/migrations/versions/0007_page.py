"""Adds the tables of the web page: sessions, actions, switches, arrivals of data, the outlook, samples of capacity."""

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_REQUEST_INDEX = "ix_request_account_id_date_range_report_id"
_SCORE_INDEX = "ix_fatigue_score_account_id_as_of_ad_id_status_total"
_IMPACT_TABLES = ("impact_estimate", "impact_unit", "impact_design")
_TABLES = (
    "report_version",
    "capacity_sample",
    "plan_hour",
    "data_arrival",
    "control_switch",
    "action_event",
    "page_session",
)

_OUTCOME = ("mode", "reason", "status", "used", "superseded_by", "fetched_at", "warm_at", "first_use")


def upgrade() -> None:
    """Add the tables and columns; they start empty."""
    _create_sessions()
    _create_planning()
    _create_impact()
    op.create_index("ix_warm_account_id_decided_at", "warm", ["account_id", "decided_at"])
    _create_versions()
    for name in ("first_opens", "first_hits"):
        op.add_column("traffic_hour", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
    _create_indexes()


def downgrade() -> None:
    """Drop the tables, columns and indexes of this migration."""
    op.drop_index("ix_warm_account_id_decided_at", "warm")
    op.drop_index(_SCORE_INDEX, "fatigue_score")
    op.drop_index(_REQUEST_INDEX, "request")
    op.drop_index("ix_warm_strategy_use", "warm")
    op.create_index("ix_warm_strategy_decided_at", "warm", ["strategy", "decided_at"])
    for name in ("ix_warm_held_out", "ix_warm_marked"):
        op.drop_index(name, "warm")
    for name in _IMPACT_TABLES:
        op.drop_table(name)
    for name in ("first_hits", "first_opens"):
        with op.batch_alter_table("traffic_hour") as table:
            table.drop_column(name)
    op.drop_index("ix_traffic_hour_hour", "traffic_hour")
    op.drop_index("ix_entry_degraded", "entry")
    op.drop_index("ix_warm_decided_at", "warm")
    op.create_index("ix_warm_decided_at", "warm", ["decided_at"])
    with op.batch_alter_table("partition") as table:
        table.drop_column("restated_at")
    for name in _TABLES:
        op.drop_table(name)


def _create_indexes() -> None:
    """Add the indexes that the page reads many rows from; the wider one of warms replaces a narrow one."""
    where = sa.text("degraded")
    op.create_index("ix_entry_degraded", "entry", ["account_id"], sqlite_where=where, postgresql_where=where)
    op.create_index("ix_traffic_hour_hour", "traffic_hour", ["hour"])
    op.drop_index("ix_warm_decided_at", "warm")
    op.create_index("ix_warm_decided_at", "warm", ["decided_at"], postgresql_include=list(_OUTCOME))
    op.create_index(_REQUEST_INDEX, "request", ["account_id", "date_range", "report", "id"])
    op.create_index(_SCORE_INDEX, "fatigue_score", ["account_id", "as_of", "ad_id", "status", "total"])
    op.drop_index("ix_warm_strategy_decided_at", "warm")
    columns = ["strategy", "decided_at", "status", "used", "superseded_by", "requests"]
    named = sa.text("strategy IS NOT NULL")
    op.create_index("ix_warm_strategy_use", "warm", columns, sqlite_where=named, postgresql_where=named)


def _create_sessions() -> None:
    op.create_table(
        "page_session",
        sa.Column("id_hash", sa.String(length=64), primary_key=True),
        sa.Column("token_id", sa.String(length=16), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("expires_at", _TIMESTAMP, nullable=False),
    )
    op.create_index("ix_page_session_expires_at", "page_session", ["expires_at"])
    op.create_table(
        "action_event",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("actor", sa.String(length=250), nullable=False),
        sa.Column("via", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=250)),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
    )
    op.create_index("ix_action_event_at", "action_event", ["at"])
    op.create_table(
        "control_switch",
        sa.Column("name", sa.String(length=40), primary_key=True),
        sa.Column("is_on", sa.Boolean(), nullable=False),
        sa.Column("changed_at", _TIMESTAMP, nullable=False),
        sa.Column("changed_by", sa.String(length=250), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
    )


def _create_planning() -> None:
    op.create_table(
        "data_arrival",
        sa.Column("account_id", sa.String(length=24), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("arrived_at", _TIMESTAMP, nullable=False),
        sa.Column("origin", sa.String(length=80), nullable=False),
        sa.Column("planned_at", _TIMESTAMP),
        sa.Column("planned_run", sa.String(length=250)),
    )
    op.create_index("ix_data_arrival_arrived_at", "data_arrival", ["arrived_at"])
    op.create_table(
        "plan_hour",
        sa.Column("hour", _TIMESTAMP, primary_key=True),
        sa.Column("expected_opens", sa.Float(), nullable=False),
        sa.Column("due_warms", sa.Integer(), nullable=False),
        sa.Column("expected_calls", sa.Float(), nullable=False),
        sa.Column("call_quota", sa.Float(), nullable=False),
        sa.Column("planned_at", _TIMESTAMP, nullable=False),
    )
    op.create_table(
        "capacity_sample",
        sa.Column("at", _TIMESTAMP, primary_key=True),
        sa.Column("scope", sa.String(length=200), primary_key=True),
        sa.Column("limit", sa.Float(), nullable=False),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.Column("usage", sa.Float()),
        sa.Column("is_parked", sa.Boolean(), nullable=False),
    )


def _create_impact() -> None:
    op.create_table(
        "impact_design",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("since", _TIMESTAMP, nullable=False),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("salt", sa.String(length=200), nullable=False),
        sa.Column("ended_at", _TIMESTAMP),
    )
    op.create_index("ix_impact_design_since", "impact_design", ["since"])
    op.create_table(
        "impact_unit",
        sa.Column("design_id", _ROW_ID, primary_key=True),
        sa.Column("week", sa.Date(), primary_key=True),
        sa.Column("account_id", sa.String(length=24), primary_key=True),
        sa.Column("is_held_out", sa.Boolean(), nullable=False),
        sa.Column("first_opens", sa.Integer(), nullable=False),
        sa.Column("first_hits", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("withheld", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
    )
    op.create_index("ix_impact_unit_week", "impact_unit", ["week"])
    op.create_table(
        "impact_estimate",
        sa.Column("design_id", _ROW_ID, primary_key=True),
        sa.Column("week", sa.Date(), primary_key=True),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
    )
    op.create_index("ix_impact_estimate_week", "impact_estimate", ["week"])
    is_marked, is_held_out = sa.text("used IS NOT NULL OR superseded_by IS NOT NULL"), sa.text("status = 'held_out'")
    columns = ["decided_at", "reason", "mode", "status", "used", "confidence"]
    op.create_index("ix_warm_marked", "warm", columns, sqlite_where=is_marked, postgresql_where=is_marked)
    op.create_index("ix_warm_held_out", "warm", ["decided_at"], sqlite_where=is_held_out, postgresql_where=is_held_out)


def _create_versions() -> None:
    op.add_column("partition", sa.Column("restated_at", _TIMESTAMP))
    op.create_table(
        "report_version",
        sa.Column("report", sa.String(length=40), primary_key=True),
        sa.Column("spec_hash", sa.String(length=12), primary_key=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("since", _TIMESTAMP, nullable=False),
        sa.Column("seen_at", _TIMESTAMP, nullable=False),
        sa.Column("coverage", sa.Float()),
    )
    op.create_index("ix_report_version_since", "report_version", ["since"])
