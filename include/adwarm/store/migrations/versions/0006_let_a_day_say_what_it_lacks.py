"""Let a day say what of it could not be read."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("partition", sa.Column("missing", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("partition", "missing")
