"""Let a denial belong to the credential that was denied, so that another one is not held back by it."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("account", sa.Column("denials", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("account", "denials")
