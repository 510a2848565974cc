"""The tables of the shared budget: capacity scopes and grants."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, String, Table, text

from adwarm.store.columns import key_column, metadata, value_column

_IS_SHARED = text("scope NOT LIKE 'account:%'")

# One row per account, app and token that was called.
capacity_scope = Table(
    "capacity_scope",
    metadata,
    key_column("scope", String(200)),
    value_column("limit", Float),
    value_column("tokens", Float),
    value_column("refilled_at", Float),
    Column("usage", Float),
    value_column("state", JSON, dict),
    # The few shared ones are looked for among those of all accounts.
    Index("ix_capacity_scope_shared", "scope", sqlite_where=_IS_SHARED, postgresql_where=_IS_SHARED),
)

# One row per call or block in flight, deleted when it is released or has expired.
capacity_grant = Table(
    "capacity_grant",
    metadata,
    key_column("id", String(40)),
    Column("token", BigInteger, nullable=False, default=0, server_default="0"),
    value_column("scopes", JSON, list),
    value_column("priority", Integer),
    value_column("cost", Float),
    value_column("source", String(200)),
    value_column("probe", Boolean),
    value_column("permits", Integer),
    value_column("counted", Boolean),
    value_column("owner", String(120)),
    value_column("granted_at", Float),
    value_column("spend_until", Float),
    value_column("expires_at", Float),
    Index(None, "expires_at"),
)
