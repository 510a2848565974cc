"""Adds the tokens of the read API, kept versions of entries, reads by entry, and compression by day."""

import sqlalchemy as sa
from alembic import op

revision = "5"
down_revision = "4"
branch_labels = None
depends_on = None

_TIMESTAMP = sa.DateTime(timezone=True)
_NAMES = (
    ("account", "opens_from"),
    ("entry", "content_hash"),
    ("entry", "content_type"),
    ("entry", "reads"),
    ("entry", "last_read_at"),
    ("request", "token_id"),
    ("warm", "superseded_by"),
)


def upgrade() -> None:
    """Add the columns and the tables, all empty."""
    op.add_column("account", sa.Column("opens_from", sa.String(length=8)))
    op.add_column("entry", sa.Column("content_hash", sa.String(length=64)))
    op.add_column("entry", sa.Column("content_type", sa.String(length=255)))
    op.add_column("entry", sa.Column("reads", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("entry", sa.Column("last_read_at", _TIMESTAMP))
    op.add_column("request", sa.Column("token_id", sa.String(length=16)))
    op.add_column("warm", sa.Column("superseded_by", sa.BigInteger()))
    op.create_table(
        "access_token",
        sa.Column("id", sa.String(length=16), primary_key=True),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("accounts", sa.JSON()),
        sa.Column("actor", sa.String(length=16), nullable=False),
        sa.Column("is_trusted", sa.Boolean(), nullable=False),
        sa.Column("highest_priority", sa.String(length=16), nullable=False),
        sa.Column("daily_new_keys", sa.Integer(), nullable=False),
        sa.Column("rate_per_second", sa.Float()),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
        sa.Column("expires_at", _TIMESTAMP),
        sa.Column("revoked_at", _TIMESTAMP),
        sa.Column("last_used_at", _TIMESTAMP),
    )
    op.create_table(
        "token_day",
        sa.Column("token_id", sa.String(length=16), primary_key=True),
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("new_keys", sa.Integer(), nullable=False),
    )
    op.create_table(
        "entry_version",
        sa.Column("account_id", sa.String(length=24), primary_key=True),
        sa.Column("date_range", sa.String(length=40), primary_key=True),
        sa.Column("report", sa.String(length=40), primary_key=True),
        sa.Column("content_hash", sa.String(length=64), primary_key=True),
        sa.Column("payload_hash", sa.String(length=64), sa.ForeignKey("payload.hash"), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("spec_hash", sa.String(length=12), nullable=False),
        sa.Column("raw_bytes", sa.Integer(), nullable=False),
        sa.Column("stored_bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", _TIMESTAMP, nullable=False),
    )
    op.create_index("ix_entry_version_payload_hash", "entry_version", ["payload_hash"])
    op.create_index("ix_entry_version_created_at", "entry_version", ["created_at"])
    op.create_table(
        "compression_day",
        sa.Column("day", sa.Date(), primary_key=True),
        sa.Column("codec", sa.String(length=16), primary_key=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("packed", "unpacked")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("raw_bytes", "stored_bytes")),
        *(sa.Column(name, sa.Float(), nullable=False) for name in ("pack_seconds", "unpack_seconds")),
        sa.Column("errors", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Drop the tables and the columns."""
    for table in ("compression_day", "entry_version", "token_day", "access_token"):
        op.drop_table(table)
    for table, column in reversed(_NAMES):
        op.drop_column(table, column)
