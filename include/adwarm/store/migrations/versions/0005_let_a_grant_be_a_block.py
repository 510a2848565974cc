"""Let a grant be a block of permits: one row each, fenced, with the scopes it holds."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table anew; what it held was good for seconds."""
    op.drop_table("capacity_grant")
    op.create_table(
        "capacity_grant",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.Column("source", sa.String(200), nullable=False),
        sa.Column("probe", sa.Boolean(), nullable=False),
        sa.Column("permits", sa.Integer(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("owner", sa.String(120), nullable=False),
        sa.Column("granted_at", sa.Float(), nullable=False),
        sa.Column("spend_until", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_capacity_grant")),
    )
    op.create_index(op.f("ix_capacity_grant_expires_at"), "capacity_grant", ["expires_at"])


def downgrade() -> None:
    """Make the old table again."""
    op.drop_table("capacity_grant")
    op.create_table(
        "capacity_grant",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("scope", sa.String(200), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.Column("owner", sa.String(120), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("granted_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", "scope", name=op.f("pk_capacity_grant")),
    )
    op.create_index(op.f("ix_capacity_grant_scope_expires_at"), "capacity_grant", ["scope", "expires_at"])
