"""Checks what a reader requests before anything is written: the report, the range, and the account.

| the account is                                   | a token without a list    | a token with it on its list         |
|--------------------------------------------------|---------------------------|-------------------------------------|
| stored and active                                | requested                 | requested                           |
| stored, and closed or denied                     | 404, as if it was unknown | not requested; the reason is given  |
| not stored                                       | 404                       | requested                           |
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from cachetools import TTLCache
from sqlalchemy import Engine

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import local_day
from adwarm.model import AccessToken, Account, ReportKey
from adwarm.model.windows import check_served
from adwarm.serving.flights import loop_time
from adwarm.serving.problems import Problem, unknown_report
from adwarm.settings import Settings
from adwarm.store import accounts
from adwarm_client.date_ranges import validate_date_range

_ACCOUNT_SECONDS = 1.0
_MAX_ACCOUNTS = 10_000


class RequestCheck:
    """Checks requests. It remembers for a second which accounts exist. Use it from one event loop.

    Args:
        engine: the database.
        settings: of the process.
        clock: the current time.
        executor: runs the queries.
    """

    def __init__(self, engine: Engine, settings: Settings, clock: Clock, executor: Executor) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._executor = executor
        self._accounts: TTLCache[str, asyncio.Future[Account | None]] = TTLCache(
            _MAX_ACCOUNTS, _ACCOUNT_SECONDS, loop_time
        )

    async def find_refusal(self, key: ReportKey, token: AccessToken) -> str | None:
        """Return why the report is not requested although the token may read it; None when it may be requested.

        Raises:
            Problem: 404, the account or the report is unknown, or the token may not read it; 400, the range is not one
                that the platform serves.
        """
        if not token.may_read(key.account_id) or key.report not in self._settings.reports:
            raise unknown_report()
        account = await self._find_account(key.account_id)
        if not token.names(key.account_id) and (account is None or account.status != "active"):
            raise unknown_report()
        zone = self._settings.default_zone if account is None else account.data_zone
        try:
            check_served(validate_date_range(key.date_range), local_day(self._clock.now(), zone))
        except BadRequest as error:
            raise Problem(400, "Bad Request", str(error)) from None
        if account is not None and account.status != "active":
            return f"the account is {account.status}; what is stored can be read"
        return None

    async def _find_account(self, account_id: str) -> Account | None:
        """Return the account; concurrent readers share one query."""
        query = self._accounts.get(account_id)
        if query is None or (query.done() and (query.cancelled() or query.exception() is not None)):
            query = self._run(lambda: accounts.get_as_of(self._engine, account_id, self._clock.now()))
            self._accounts[account_id] = query
        return await asyncio.shield(query)

    def _run(self, work: Callable[[], Account | None]) -> asyncio.Future[Account | None]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work)
