"""Stores what the benchmark of the read API reads: one report of 1,520 ad-days under many keys, and a token."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson
from sqlalchemy import update

from adwarm.foundation.clock import SystemClock
from adwarm.model import AccessToken, Account, Actor, Priority, ReportKey, TokenScope
from adwarm.prefetch import KeyRequest, PrefetchEngine
from adwarm.recovery import RecoveryPipeline
from adwarm.runtime import Runtime
from adwarm.serving.tokens import make_token
from adwarm.settings import load_settings
from adwarm.sources.pool import SourcePool
from adwarm.sources.protocol import FetchUnit, Increment, ResultPage
from adwarm.store import access_tokens, accounts, write_transaction
from adwarm.store.entries import table as entry
from adwarm.store.error_events import ErrorLog
from tests.benchmarks.compression import payload
from tests.support.memory_recovery import memory_options
from tests.unit.conftest import ScriptedSource

HITS, STALE, MISSING = 8, 8, 8
"""Accounts whose report is fresh, old, and not stored."""


@dataclass(frozen=True)
class Store:
    """What is stored: paths of requests by what they find, the token, and the size of the stored body."""

    fresh: Sequence[str]
    stale: Sequence[str]
    missing: Sequence[str]
    token: str


def fill(database_url: str | None, hits: int = HITS) -> Store:
    """Fill the database of this process's settings; `database_url` None is SQLite in the home folder.

    Args:
        hits: accounts whose report is fresh.
    """
    runtime = Runtime(load_settings(database_url=database_url))
    names = [f"act_{number + 1}" for number in range(hits + STALE + MISSING)]
    rows = orjson.loads(payload())["data"]
    days = sorted({row["date_start"] for row in rows})
    span = f"{days[0]}..{days[-1]}"
    accounts.save(runtime.engine, [Account(name, "UTC", "UTC") for name in names], datetime.now(UTC))
    stored = names[: hits + STALE]
    _fetch(runtime, rows, [ReportKey(name, span) for name in stored])
    old = update(entry).where(entry.c.account_id.in_(stored[hits:]))
    with write_transaction(runtime.engine) as connection:
        connection.execute(old.values(expires_at=datetime.now(UTC) - timedelta(hours=1)))
    made = make_token()
    token = AccessToken(
        id=made.id,
        name="benchmark",
        scopes=frozenset({TokenScope.ENQUEUE}),
        actor=Actor.API,
        highest_priority=Priority.NORMAL,
        daily_new_keys=1_000_000,
        rate_per_second=1_000_000.0,
        created_at=datetime.now(UTC),
    )
    access_tokens.insert_token(runtime.engine, token, made.secret_hash)
    paths = [f"/v1/insights/{name}/{span}" for name in names]
    return Store(paths[:hits], paths[hits : hits + STALE], paths[hits + STALE :], made.text)


def _fetch(runtime: Runtime, rows: list[dict[str, object]], keys: list[ReportKey]) -> None:
    def answer(unit: FetchUnit) -> ResultPage:
        if unit.increment is Increment.DAY:
            return ResultPage([{**row, "account_id": unit.account_id} for row in rows], api_version="v26.0")
        summary = [{**row, "account_id": unit.account_id} for row in _one_row_per_ad(rows)]
        spans = [(str(window.since), str(window.until)) for window in unit.windows]
        return ResultPage(
            [{**row, "date_start": since, "date_stop": until} for row in summary for since, until in spans],
            api_version="v26.0",
        )

    source = ScriptedSource({key.account_id: answer for key in keys})
    clock = SystemClock()
    pipeline = RecoveryPipeline(
        runtime.settings.recovery, ErrorLog(runtime.engine), clock, random.Random(1), **memory_options(clock)
    )
    engine = PrefetchEngine(
        runtime.context, SourcePool(lambda: source), runtime.admission, pipeline, SystemClock(), runtime.owner
    )
    for outcome in engine.run([KeyRequest(key) for key in keys], Priority.LOW).outcomes:
        if outcome.reason:
            raise RuntimeError(f"the report of the benchmark is not stored: {outcome.reason}")


def _one_row_per_ad(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return list({row["ad_id"]: row for row in rows}.values())
