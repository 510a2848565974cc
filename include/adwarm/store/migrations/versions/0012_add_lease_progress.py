"""Add what an interrupted fetch has read and learned to its lease."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; what was too large lives for an hour, so it is not carried over."""
    op.add_column("lease", sa.Column("report_pages", sa.JSON(), nullable=True))
    op.add_column("lease", sa.Column("learned", sa.JSON(), nullable=True))
    op.drop_column("lease", "too_large")


def downgrade() -> None:
    """Bring the old column back, empty."""
    op.add_column("lease", sa.Column("too_large", sa.JSON(), nullable=True))
    op.drop_column("lease", "learned")
    op.drop_column("lease", "report_pages")
