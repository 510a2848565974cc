"""Adds healing runs, alerts, damaged data, integrity statistics, steps of maintenance and reconciliations."""

import sqlalchemy as sa
from alembic import op

revision = "6"
down_revision = "5"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (
    "reconciliation",
    "maintenance_step",
    "integrity_day",
    "quarantined_item",
    "alert_delivery",
    "alert",
    "healing_run",
)


def upgrade() -> None:
    """Add the columns and the tables; isolations start empty."""
    _change_errors()
    op.add_column("request", sa.Column("error_kind", sa.String(length=40)))
    _replace_isolation()
    with op.batch_alter_table("healing_action") as table:
        table.alter_column("name", existing_type=sa.String(length=120), type_=sa.String(length=240))
    _create_healing()
    _create_alerts()
    _create_integrity()
    _create_maintenance()


def downgrade() -> None:
    """Drop the tables and columns of this migration."""
    for name in _TABLES:
        op.drop_table(name)
    with op.batch_alter_table("request") as table:
        table.drop_column("error_kind")
    op.drop_table("isolation")
    op.create_table(
        "isolation",
        sa.Column("source", sa.String(length=200), primary_key=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
    )
    action = sa.table("healing_action", sa.column("name", sa.String))
    op.execute(action.delete().where(sa.func.length(action.c.name) > 120))  # there is no room for them
    with op.batch_alter_table("healing_action") as table:
        table.alter_column("name", existing_type=sa.String(length=240), type_=sa.String(length=120))
    op.drop_index("ix_error_event_source_kind_at", "error_event")
    op.create_index("ix_error_event_source_at", "error_event", ["source", "at"])
    op.drop_index("ix_error_event_at", "error_event")
    op.drop_index("ix_error_event_account_id_at", "error_event")
    for name in ("account_id", "connection"):
        with op.batch_alter_table("error_event") as table:
            table.drop_column(name)


def _change_errors() -> None:
    op.add_column("error_event", sa.Column("connection", sa.String(length=80)))
    op.add_column("error_event", sa.Column("account_id", sa.String(length=24)))
    op.create_index("ix_error_event_account_id_at", "error_event", ["account_id", "at"])
    op.create_index("ix_error_event_at", "error_event", ["at"])
    op.drop_index("ix_error_event_source_at", "error_event")
    op.create_index("ix_error_event_source_kind_at", "error_event", ["source", "kind", "at"])


def _replace_isolation() -> None:
    op.drop_table("isolation")
    op.create_table(
        "isolation",
        sa.Column("scope", sa.String(length=200), primary_key=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("until", sa.Float()),
        sa.Column("reason", sa.Text()),
        sa.Column("data", sa.JSON(), nullable=False),
    )


def _create_healing() -> None:
    op.create_table(
        "healing_run",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("error_kind", sa.String(length=40), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("owner", sa.String(length=80), nullable=False),
    )
    op.create_index("ix_healing_run_at", "healing_run", ["at"])


def _create_alerts() -> None:
    op.create_table(
        "alert",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("opened_at", _TIMESTAMP, nullable=False),
        sa.Column("last_at", _TIMESTAMP, nullable=False),
        sa.Column("errors", sa.Integer(), nullable=False),
        sa.Column("window_seconds", sa.Float(), nullable=False),
        sa.Column("example", sa.String(length=200)),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("next_step", sa.Text(), nullable=False),
        sa.Column("resolved_at", _TIMESTAMP),
    )
    op.create_index("ix_alert_opened_at", "alert", ["opened_at"])
    is_open = sa.text("resolved_at IS NULL")
    op.create_index(
        "uq_alert_open", "alert", ["kind", "scope"], unique=True, sqlite_where=is_open, postgresql_where=is_open
    )
    op.create_table(
        "alert_delivery",
        sa.Column("alert_id", _ROW_ID, sa.ForeignKey("alert.id"), primary_key=True, autoincrement=False),
        sa.Column("notice", sa.String(length=40), primary_key=True),
        sa.Column("channel", sa.String(length=80), primary_key=True),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("claimed_until", _TIMESTAMP),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("delivered_at", _TIMESTAMP),
        sa.Column("error", sa.Text()),
    )
    op.create_index("ix_alert_delivery_delivered_at", "alert_delivery", ["delivered_at"])


def _create_integrity() -> None:
    op.create_table(
        "quarantined_item",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("found_at", _TIMESTAMP, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("account_id", sa.String(length=24)),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("copy_name", sa.String(length=80)),
        sa.Column("healed_at", _TIMESTAMP),
        sa.Column("outcome", sa.Text()),
        sa.Column("spec_hash", sa.String(length=12)),
        sa.Column("since", sa.Date()),
        sa.Column("until", sa.Date()),
    )
    op.create_index("ix_quarantined_item_found_at", "quarantined_item", ["found_at"])
    is_open = sa.text("healed_at IS NULL")
    op.create_index(
        "uq_quarantined_item_open",
        "quarantined_item",
        ["kind", "name"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_table(
        "integrity_day",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("kind", sa.String(length=16), primary_key=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("checked", "damaged", "healed", "bytes")),
    )


def _create_maintenance() -> None:
    op.create_table(
        "maintenance_step",
        sa.Column("name", sa.String(length=40), primary_key=True),
        sa.Column("cursor", sa.JSON()),
        sa.Column("round_started_at", _TIMESTAMP),
        sa.Column("round_finished_at", _TIMESTAMP),
        sa.Column("started_at", _TIMESTAMP, nullable=False),
        sa.Column("finished_at", _TIMESTAMP),
        sa.Column("seconds", sa.Float()),
        sa.Column("result", sa.JSON()),
        sa.Column("error", sa.Text()),
        sa.Column("owner", sa.String(length=80), nullable=False),
        sa.Column("lease_until", _TIMESTAMP),
    )
    op.create_table(
        "reconciliation",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("at", _TIMESTAMP, nullable=False),
        sa.Column("account_id", sa.String(length=24), nullable=False),
        sa.Column("comparison", sa.String(length=24), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("metric", sa.String(length=40), nullable=False),
        sa.Column("expected", sa.Float(), nullable=False),
        sa.Column("actual", sa.Float(), nullable=False),
        sa.Column("differs", sa.Boolean(), nullable=False),
    )
    op.create_index("ix_reconciliation_at", "reconciliation", ["at"])
    op.create_index("ix_reconciliation_account_id_at", "reconciliation", ["account_id", "at"])
