"""Adds the tables of the web page: sessions, actions, switches, arrivals of data, the outlook, samples of capacity."""

import sqlalchemy as sa
from alembic import op

revision = "7"
down_revision = "6"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = ("capacity_sample", "plan_hour", "data_arrival", "control_switch", "action_event", "page_session")

_OUTCOME = ("mode", "reason", "status", "used", "superseded_by", "fetched_at", "warm_at", "first_use")


def upgrade() -> None:
    """Add the tables and columns; they start empty."""
    _create_sessions()
    _create_planning()
    _create_indexes()
    for name in ("first_opens", "first_hits"):
        op.add_column("traffic_hour", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop the tables and columns of this migration."""
    for name in ("first_hits", "first_opens"):
        with op.batch_alter_table("traffic_hour") as table:
            table.drop_column(name)
    op.drop_index("ix_traffic_hour_hour", "traffic_hour")
    op.drop_index("ix_entry_degraded", "entry")
    op.drop_index("ix_warm_decided_at", "warm")
    op.create_index("ix_warm_decided_at", "warm", ["decided_at"])
    for name in _TABLES:
        op.drop_table(name)


def _create_indexes() -> None:
    """Index what the page counts: the few degraded entries by reason, and the outcomes of a week's warms."""
    where = sa.text("degraded")
    op.create_index("ix_entry_degraded", "entry", ["account_id"], sqlite_where=where, postgresql_where=where)
    op.create_index("ix_traffic_hour_hour", "traffic_hour", ["hour"])
    op.drop_index("ix_warm_decided_at", "warm")
    op.create_index("ix_warm_decided_at", "warm", ["decided_at"], postgresql_include=list(_OUTCOME))


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
