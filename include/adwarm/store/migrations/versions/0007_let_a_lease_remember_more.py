"""Let a lease say how far its report was, and since when, and what was too large, for whoever holds it next."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("lease", sa.Column("report_percent", sa.Float(), nullable=True))
    op.add_column("lease", sa.Column("report_moved_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("lease", sa.Column("too_large", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take them away."""
    op.drop_column("lease", "too_large")
    op.drop_column("lease", "report_moved_at")
    op.drop_column("lease", "report_percent")
