"""Let a queued request be fenced, held back, and answered; one flight per report."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_IN_FLIGHT = sa.text("status IN ('pending', 'processing')")


def upgrade() -> None:
    """Add the columns, and the index that keeps equal requests from flying twice."""
    op.execute("DELETE FROM request")  # nothing used the table before this revision
    with op.batch_alter_table("request", schema=None) as batch_op:
        batch_op.add_column(sa.Column("token", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("not_before", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("result", sa.JSON(), nullable=True))
        batch_op.create_index(batch_op.f("ix_request_finished_at"), ["finished_at"], unique=False)
        batch_op.create_index(
            "uq_request_in_flight",
            ["account_id", "date_range", "report"],
            unique=True,
            sqlite_where=_IN_FLIGHT,
            postgresql_where=_IN_FLIGHT,
        )


def downgrade() -> None:
    """Take them away."""
    with op.batch_alter_table("request", schema=None) as batch_op:
        batch_op.drop_index("uq_request_in_flight")
        batch_op.drop_index(batch_op.f("ix_request_finished_at"))
        batch_op.drop_column("result")
        batch_op.drop_column("not_before")
        batch_op.drop_column("token")
