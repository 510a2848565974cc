"""Let reviews of the policies be kept, and the policy say who chose the kind of forecast, when and why."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table and the columns."""
    op.create_table(
        "policy_review",
        sa.Column("run_id", sa.String(length=250), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verdict", sa.String(length=24), nullable=False),
        sa.Column("live_kind", sa.String(length=40), nullable=True),
        sa.Column("proposed_kind", sa.String(length=40), nullable=True),
        sa.Column("proposed_snapshot", sa.String(length=64), nullable=True),
        sa.Column("report", sa.Text(), nullable=True),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("decided_by", sa.String(length=250), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["proposed_snapshot"], ["forecast_snapshot.id"], name=op.f("fk_policy_review_proposed_snapshot")
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_policy_review")),
    )
    op.create_index(op.f("ix_policy_review_at"), "policy_review", ["at"], unique=False)
    op.add_column("policy", sa.Column("chosen_kind", sa.String(length=40), nullable=True))
    op.add_column("policy", sa.Column("chosen_by", sa.String(length=250), nullable=True))
    op.add_column("policy", sa.Column("chosen_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("policy", sa.Column("chosen_why", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take them away."""
    for name in ("chosen_why", "chosen_at", "chosen_by", "chosen_kind"):
        op.drop_column("policy", name)
    op.drop_index(op.f("ix_policy_review_at"), table_name="policy_review")
    op.drop_table("policy_review")
