"""What a fetch of an account reads before it takes the lease: account, entries, damage and lease, as of one moment.

No other worker has published since then if the lease was free then and its next token is the one that is acquired.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Select, String, and_, bindparam, exists, literal, select

from adwarm.foundation.gate import Gate
from adwarm.model import Account, EntryKey, Window
from adwarm.store import accounts, denials
from adwarm.store.database import read_statement
from adwarm.store.entries import FOREVER, EntryLifetime
from adwarm.store.entries import table as entry
from adwarm.store.leases import table as lease
from adwarm.store.quarantine import table as damage

_ID = bindparam("account", type_=String())
_ONE = select(literal(1).label("one")).subquery()
_IS_OF_ACCOUNT = and_(entry.c.account_id == _ID, entry.c.spec_hash == bindparam("spec"), entry.c.degraded.is_(False))
_HAS_DAMAGE = exists().where(damage.c.account_id == _ID, damage.c.healed_at.is_(None)).label("has_damage")
_QUERY: Select[Any] = select(
    *accounts.COLUMNS,
    lease.c.owner,
    lease.c.token,
    _HAS_DAMAGE,
    exists().where(denials.IS_ACTIVE).label("has_gates"),
    *(entry.c[name] for name in ("since", "until", "fetched_at", "expires_at", "payload_hash")),
).select_from(
    accounts
    .join_account(_ONE, _ID)
    .outerjoin(lease, lease.c.name == bindparam("lease"))
    .outerjoin(entry, _IS_OF_ACCOUNT)
)


@dataclass(frozen=True, slots=True)
class FetchState:
    """The state of an account and query.

    Attributes:
        account: None when it is not stored.
        next_token: the token that the next holder of the lease gets; None when it was held, or never acquired.
        has_damage: whether damaged data of the account was set aside that nothing has replaced yet.
        lifetimes: those of its entries that are not degraded.
        gates: its denials, and the refused fields of every connection, that are valid.
    """

    account: Account | None = None
    next_token: int | None = None
    has_damage: bool = False
    lifetimes: dict[EntryKey, EntryLifetime] = field(default_factory=dict)
    gates: Sequence[Gate] = ()


def read_fetch_state(engine: Engine, account_id: str, spec_hash: str, lease_name: str, at: datetime) -> FetchState:
    """Return the state of an account and query by one statement, and by one more its gates where there are any.

    Args:
        lease_name: the lease under which its entries are published.
        at: the time that gates are judged by.
    """
    values = {"account": account_id, "spec": spec_hash, "lease": lease_name, **denials.active_values(account_id, at)}
    with read_statement(engine) as connection:
        rows = connection.execute(_QUERY, values).all()
        first = rows[0]
        gates = denials.read_active(connection, account_id, at) if first.has_gates else ()
    lifetimes = {
        EntryKey(account_id, Window(row.since, row.until), spec_hash): EntryLifetime(
            row.fetched_at, row.expires_at or FOREVER, row.payload_hash
        )
        for row in rows
        if row.since is not None
    }
    return FetchState(
        account=None if first.id is None else accounts.read(first),
        next_token=first.token + 1 if first.owner == "" else None,
        has_damage=bool(first.has_damage),
        lifetimes=lifetimes,
        gates=gates,
    )
