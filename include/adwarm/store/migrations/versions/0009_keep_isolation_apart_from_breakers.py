"""Keep the isolation of fallbacks in a table of its own: its states are not those of a breaker."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_PREFIX = "isolation:"


def _table(name: str) -> sa.TableClause:
    columns = {"source": sa.String, "state": sa.String, "changed_at": sa.Float, "data": sa.JSON}
    return sa.table(name, *(sa.column(column, kind) for column, kind in columns.items()))


def upgrade() -> None:
    """Make the table, and move the rows that lie among the breakers."""
    op.create_table(
        "isolation",
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_isolation")),
    )
    breaker, isolation = _table("breaker"), _table("isolation")
    mine = breaker.c.source.like(f"{_PREFIX}%")
    connection = op.get_bind()
    rows = connection.execute(sa.select(breaker).where(mine)).mappings().all()
    if rows:
        moved = [{**row, "source": row["source"].removeprefix(_PREFIX)} for row in rows]
        connection.execute(sa.insert(isolation), moved)
        connection.execute(sa.delete(breaker).where(mine))


def downgrade() -> None:
    """Remove the table; an isolation lasts minutes, and is found out again."""
    op.drop_table("isolation")
