"""Gives each strategy a schedule, a state, and its name on its warms."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns of the schedule, the table of the states, and the strategy of a warm."""
    op.add_column("strategy", sa.Column("cron", sa.String(120), nullable=False, server_default="0 */6 * * *"))
    op.add_column("strategy", sa.Column("time_zone", sa.String(64), nullable=False, server_default="UTC"))
    op.add_column("strategy", sa.Column("retire_unused", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("strategy", sa.Column("open_hours", sa.Integer(), nullable=False, server_default="6"))
    op.create_table(
        "strategy_state",
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("planned_slot", _TIMESTAMP),
        sa.Column("planned_run", sa.String(250)),
        sa.Column("recheck_at", _TIMESTAMP),
        sa.Column("recheck_run", sa.String(250)),
        sa.Column("problem", sa.Text()),
        sa.Column("enabled_at", _TIMESTAMP),
        sa.Column("checked_at", _TIMESTAMP),
        sa.Column("retired_at", _TIMESTAMP),
        sa.Column("retired_why", sa.Text()),
        sa.Column("removed_at", _TIMESTAMP),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_strategy_state")),
    )
    op.add_column("warm", sa.Column("strategy", sa.String(80)))
    op.create_index("ix_warm_strategy_decided_at", "warm", ["strategy", "decided_at"])


def downgrade() -> None:
    """Remove what `upgrade` has added."""
    op.drop_index("ix_warm_strategy_decided_at", "warm")
    op.drop_column("warm", "strategy")
    op.drop_table("strategy_state")
    for name in ("open_hours", "retire_unused", "time_zone", "cron"):
        op.drop_column("strategy", name)
