"""Let a lease say of what its report is, and since when, so that its next holder can take that report up."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns."""
    op.add_column("lease", sa.Column("report_unit", sa.String(length=16), nullable=True))
    op.add_column("lease", sa.Column("report_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take them away."""
    op.drop_column("lease", "report_at")
    op.drop_column("lease", "report_unit")
