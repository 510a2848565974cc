"""A home whose read API and page a token may attack: what it has stored, what it has called, and what was opened."""

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import func, select, update

from adwarm.model import Priority, ReportKey
from adwarm.pages.sessions import COOKIE
from adwarm.prefetch import KeyRequest
from adwarm.store import accounts, entries
from adwarm.store.access_tokens import table as access_token
from adwarm.store.accounts import table as account_table
from adwarm.store.data_arrivals import table as data_arrival
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.requests import table as request
from tests.simulation.served import ServedHome
from tests.support.wall_clock import database_now

ORIGIN: Final = "https://localhost"
PAGE: Final = "/adwarm/"
NOW: Final = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAYS: Final = "2026-10-26..2026-11-24"
"""The days of act_1 that are stored, under this one range."""
_FIELD = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


@dataclass(frozen=True)
class Facts:
    """What a home has stored and caused.

    Attributes:
        calls: upstream calls.
        entries: stored answers, with the time of their fetch.
        accounts: stored accounts.
        requests: requests of the queue.
        arrivals: reported days.
    """

    calls: int
    entries: frozenset[tuple[str, datetime]]
    accounts: frozenset[str]
    requests: int
    arrivals: int


@dataclass
class BudgetHome:
    """The home; its server has no credential, so that `drain` decides when requests are carried out.

    `act_1` has a fresh and a stale report, one that failed, and stored days; `act_2` is stored without any; `act_3` is
    closed. No other account is known.
    """

    folder: Path
    served: ServedHome = field(init=False)

    def __post_init__(self) -> None:
        """Store what the attributes say."""
        self.served = home = ServedHome(self.folder, "UTC", NOW - timedelta(hours=8))
        home.add_accounts(["act_1", "act_2", "act_3"])
        engine = home.runtime.engine
        closed = replace(home.source.get_account("act_3"), status="closed", status_reason="gone")
        accounts.save(engine, [closed], home.clock.now())
        self.warm(ReportKey("act_1", DAYS), ReportKey("act_1", "last_7d"))
        home.clock.set(NOW)
        self.warm(ReportKey("act_1", "yesterday"))
        queue = home.runtime.queue
        queue.enqueue(ReportKey("act_1", "last_14d"), Priority.LOW)
        [claim] = queue.dequeue(1)
        queue.fail(claim, "no such field")
        an_hour_ago = database_now(engine) - timedelta(hours=1)  # the queue reads the clock of the database
        with write_transaction(engine) as connection:  # the pause after a failure is over
            connection.execute(update(request).values(finished_at=an_hour_ago))

    def warm(self, *keys: ReportKey) -> None:
        """Fetch reports, as a plan does."""
        self.served.runtime.prefetch_engine().run([KeyRequest(key) for key in keys], Priority.LOW)

    def drain(self) -> None:
        """Carry out every request that is queued."""
        self.served.runtime.queue_worker().drain(60)

    def get_facts(self) -> Facts:
        """Return what is stored and was called."""
        source = self.served.source
        with read_transaction(self.served.runtime.engine) as connection:

            def count(table: Any) -> int:
                return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

            ids = frozenset(connection.execute(select(account_table.c.id)).scalars())
            requests, arrivals = count(request), count(data_arrival)
        stored = entries.list_entries(self.served.runtime.engine)
        return Facts(
            len(source.submitted) + len(source.account_lookups),
            frozenset((str(item.key), item.fetched_at) for item in stored),
            ids,
            requests,
            arrivals,
        )

    def count(self) -> Counter[str]:
        """Return what all tokens were charged with."""
        with read_transaction(self.served.runtime.engine) as connection:
            rows = connection.execute(select(access_token)).mappings().all()
        names = ("new_keys", "refetches")
        return Counter({name: sum(row.get(name, 0) for row in rows) for name in names})

    def list_opened(self) -> set[str]:
        """Return the accounts in the open log; the server has ended."""
        return {row["account_id"] for row in self.served.list_logged()}


async def log_in(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Exchange the token of a header for a session of the page."""
    token = headers["Authorization"].removeprefix("Bearer ")
    answer = await client.post(f"{PAGE}login", data={"token": token}, headers={"Origin": ORIGIN})
    assert (answer.status_code, COOKIE in answer.cookies) == (303, True), answer.text


async def send_form(client: httpx.AsyncClient, name: str, fields: dict[str, str]) -> httpx.Response:
    """Fill in a form of the page as a browser does."""
    page = await client.get(f"{PAGE}now")
    data = {**dict(_FIELD.findall(page.text)), "why": "an attack", **fields}
    return await client.post(f"{PAGE}{name}", data=data, headers={"Origin": ORIGIN})
