"""Fills a PostgreSQL with what the page shows of a large installation, in about two minutes.

| table                                   | rows at full size                                                    |
|-----------------------------------------|----------------------------------------------------------------------|
| `account`                               | 2,000                                                                |
| `payload`, `entry`                      | 100,000: 50 keys per account; 5 % stale, 0.5 % degraded              |
| `warm`                                  | 3,000,000 over 90 days, in runs of 15 minutes                        |
| `traffic_hour`                          | 2,104,000 over 400 days, mostly of the last 14                      |
| `error_event`                           | 20,000, the most that is kept, over 30 days                          |
| `fatigue_day`, `fatigue_score`          | 20,000; 200,000: 10 ads per account over 10 days                     |
| `partition`                             | 100,000: 50 days per account                                         |
| `access_pattern`, `access_profile`      | 336,000 and 2,000                                                    |
| `request`                               | 20,000 that ended, 600 open                                          |
| `warming_job`                           | 8,640; one of them runs                                              |
| `capacity_sample`                       | 11,520: four shared scopes over 30 days                              |
| `capacity_scope`, `gate`                | 2,004 and 91                                                         |
| the rest                                | tens to thousands                                                    |

Names come from people and contain markup, quotes and a right-to-left override.
"""

import sys
import time
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.schema import CreateIndex, DropIndex

from adwarm.foundation.clock import SystemClock
from adwarm.store.database import open_engine, write_transaction
from adwarm.store.read_traffic import table as traffic_hour
from adwarm.store.schema import upgrade
from adwarm.store.warms import table as warm
from tests.benchmarks.page_rows import HOSTILE, SHARED_SCOPES, fill_small

ACCOUNTS: Final = 2_000
RUN_MINUTES: Final = 15
WARM_DAYS: Final = 90
RANGES: Final = [
    "today",
    "yesterday",
    "last_3d",
    "last_7d",
    "last_14d",
    "last_28d",
    "last_30d",
    "last_90d",
    "this_month",
    "last_month",
]
REPORTS: Final = ("default", "video", "devices", "regions", "hourly")

_ACCOUNT: Final = "'act_' || (1000000 + {})"
_RANGE: Final = f"(ARRAY{list(RANGES)})[1 + {{}} % 10]"
_REPORT: Final = f"(ARRAY{list(REPORTS)})[1 + ({{}} / 10) % 5]"

WARMS: Final = f"""
INSERT INTO warm (run_id, batch, account_id, date_range, report, reason, mode, priority, decided_at, predicted_open,
  warm_at, confidence, benefit, price, explanation, status, error, fetched_at, expires_at, requests, seconds, used,
  first_use, strategy)
SELECT CASE reason WHEN 'strategy' THEN 'adwarm_strategy_warming' WHEN 'day_closed' THEN 'adwarm_daily_insights'
    WHEN 'request' THEN 'adwarm_request_queue' ELSE 'adwarm_intelligent_warming' END
    || '/scheduled__' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'),
  i % 10, {_ACCOUNT.format("a")}, {_RANGE.format("k")}, {_REPORT.format("k")}, reason,
  CASE WHEN status = 'shadow' THEN 'shadow' ELSE 'live' END, 'normal', at,
  CASE WHEN reason = 'predicted_open' THEN at + interval '50 minutes' + r2 * interval '30 minutes' END,
  at + r1 * interval '30 minutes', r2, 0.2 + r2 * 3, 0.2 + r1,
  json_build_object('why', 'opened on 7 of the last 8 Mondays between 09:00 and 10:00 (Europe/Berlin), 85% within '
    || 'its lifetime', 'costs', '0.5 calls, its share of the requests of 2 reports', 'cut',
    CASE WHEN status = 'cut' THEN '950 of 1,000 calls of the hour are spent' END),
  status, CASE WHEN status IN ('failed', 'stale') THEN 'Transient: the platform answered 503' END,
  CASE WHEN served THEN fetched END, fetched + interval '4 hours', CASE WHEN served THEN 1 + i % 2 ELSE 0 END,
  CASE WHEN served THEN 1 + r1 * 8 END,
  CASE WHEN (served OR status = 'shadow') AND fetched < :now - interval '4 hours'
    THEN r3 < CASE reason WHEN 'predicted_open' THEN 0.7 WHEN 'request' THEN 0.95 ELSE 0.35 END END,
  CASE WHEN (served OR status = 'shadow') AND fetched < :now - interval '4 hours'
    AND r3 < CASE reason WHEN 'predicted_open' THEN 0.7 WHEN 'request' THEN 0.95 ELSE 0.35 END
    THEN fetched + r2 * interval '150 minutes' END,
  CASE WHEN reason = 'strategy' THEN 'strategy ' || i % 20 END
FROM (SELECT *, at + r1 * interval '30 minutes' AS fetched, status = 'fetched' AS served FROM (
  SELECT *, :start + floor(i::float / :per_run) * interval '{RUN_MINUTES} minutes' AS at,
    CASE WHEN r4 < 0.6 THEN 'predicted_open' WHEN r4 < 0.85 THEN 'strategy' WHEN r4 < 0.95 THEN 'day_closed'
      ELSE 'request' END AS reason,
    CASE WHEN i > :warms - 2 * :per_run THEN 'planned' WHEN r5 < 0.62 THEN 'fetched' WHEN r5 < 0.72 THEN 'fresh'
      WHEN r5 < 0.86 THEN 'cut' WHEN r5 < 0.96 AND r4 < 0.6 THEN 'shadow' WHEN r5 < 0.98 THEN 'failed'
      WHEN r5 < 0.99 THEN 'stale' ELSE 'denied' END AS status
  FROM (SELECT i, floor(random() * :accounts)::int AS a, floor(random() * 50)::int AS k, random() AS r1,
      random() AS r2, random() AS r3, random() AS r4, random() AS r5
    FROM generate_series(0, :warms - 1) AS i) AS drawn) AS chosen) AS timed
"""

TRAFFIC: Final = """
INSERT INTO traffic_hour (hour, account_id, actor, hits, stale, misses, errors, upstream_calls, throttles, postponed,
  latency_ms, first_opens, first_hits)
SELECT date_trunc('hour', :now) - day * interval '1 day' - (4 + slot) * interval '1 hour', 'act_' || (1000000 + a),
  actor, hits, hits / 10, hits / 20, 0, CASE WHEN actor = 'warmer' THEN 3 ELSE 0 END, 0, 0, hits * 2.5,
  CASE WHEN actor = 'human' THEN hits / 2 ELSE 0 END, CASE WHEN actor = 'human' THEN hits * 2 / 5 ELSE 0 END
FROM generate_series(0, :days - 1) AS day, generate_series(0, :accounts - 1) AS a,
  (SELECT slot, actor, 4 + floor(random() * 30)::int AS hits
    FROM generate_series(0, 9) AS slot, unnest(ARRAY['human', 'warmer']) AS actor) AS shape
WHERE day < 14 OR slot = (a + day) % 10 ORDER BY 1
"""

LARGE: Final = {
    "account": f"""
INSERT INTO account (id, connection, data_zone, reader_zone, currency, status, updated_at, name)
SELECT {_ACCOUNT.format("a")}, 'default', 'Europe/Berlin',
  (ARRAY['Europe/Berlin', 'America/New_York', 'Asia/Tokyo', 'UTC'])[1 + a % 4], 'EUR',
  CASE WHEN a % 100 = 99 THEN 'denied' ELSE 'active' END, :now,
  CASE WHEN a % 50 = 0 THEN :hostile ELSE 'Shop ' || a END FROM generate_series(0, :accounts - 1) AS a""",
    "payload": """
INSERT INTO payload (hash, body, created_at)
SELECT md5(i::text) || md5('x' || i), decode(md5(i::text), 'hex'), :now FROM generate_series(0, :keys - 1) AS i""",
    "entry": f"""
INSERT INTO entry (account_id, since, until, spec_hash, date_range, report, payload_hash, codec, raw_bytes,
  stored_bytes, fetched_at, expires_at, source, complete, settled, degraded, degraded_reason, data_version,
  api_version, token, content_hash, reads, last_read_at)
SELECT {_ACCOUNT.format("i / 50")}, :today - i % 10 - 1, :today - i % 2, substr(md5(((i / 10) % 5)::text), 1, 12),
  {_RANGE.format("i")}, {_REPORT.format("i")}, md5(i::text) || md5('x' || i), 'zstd', 60000 + i % 1000, 9000 + i % 1000,
  :now - (i % 240) * interval '1 minute',
  CASE WHEN i % 20 = 0 THEN :now - interval '10 minutes' ELSE :now + interval '3 hours' END,
  'meta', i % 200 <> 0, i % 7 = 0, i % 200 = 0,
  CASE WHEN i % 200 = 0 THEN (ARRAY['Transient: the platform answered 503',
    'Corrupt: the bytes fail their checksum', 'older days stand in for ' || :hostile])[1 + (i / 200) % 3] END,
  1, 'v26.0', 0, md5(i::text) || md5('d' || i), i % 90, :now - (i % 300) * interval '1 minute'
FROM generate_series(0, :keys - 1) AS i""",
    "partition": f"""
INSERT INTO partition (account_id, day, spec_hash, object_hash, rows, content_hash, fetched_at, complete, settled,
  data_version, api_version, token)
SELECT {_ACCOUNT.format("i / 50")}, :today - i % 50, substr(md5('0'), 1, 12), md5(i::text) || md5('y' || i), 200,
  md5(i::text) || md5('z' || i), :now - (i % 50) * interval '1 day', true, i % 50 > 28, 1, 'v26.0', 0
FROM generate_series(0, :keys - 1) AS i""",
    "fatigue_score": f"""
INSERT INTO fatigue_score (account_id, ad_id, as_of, ad_name, status, loss, total, creative, audience, algorithm,
  data_quality, driver, trend_per_day, days_to_critical, days_to_critical_low, days_to_critical_high, alarm,
  alarm_since, onset, cost_ratio, recent_spend, baseline)
SELECT {_ACCOUNT.format("i / 100")}, (23850000000 + i / 10)::text, :today - 1 - i % 10,
  CASE WHEN i % 500 < 10 THEN :hostile ELSE 'Ad ' || i / 10 END, status, total / 170, total, least(100, total * 1.1),
  total * 0.9, total, 0.6 + (i % 40) / 100.0,
  CASE WHEN total > 30 THEN (ARRAY['creative', 'audience', 'algorithm'])[1 + i / 10 % 3]
  END, slope, days, days * 0.7, CASE WHEN i / 10 % 3 > 0 THEN days * 1.6 END, alarm,
  CASE WHEN alarm = 'alarm' THEN :today - 2 - i % 10 END,
  CASE WHEN alarm <> 'none' THEN :today - 8 - i % 10 - i / 10 % 9 END, 0.8 + total / 60, 20 + i / 10 * 7919 % 4000,
  '{{"ctr": 0.012, "recent_ctr": 0.009, "cpm": 8.5, "recent_cpm": 9.1, "frequency": 1.8}}'
FROM (SELECT *, CASE WHEN total > 60 THEN 'critical' WHEN total > 30 THEN 'warning' ELSE 'healthy' END AS status,
    CASE WHEN total > 60 THEN 0 WHEN slope > 0 THEN (60 - total) / slope END AS days,
    CASE WHEN i / 10 % 23 = 0 AND i % 10 < 7 THEN 'alarm' WHEN i / 10 % 19 = 0 THEN 'watch' ELSE 'none' END AS alarm
  FROM (SELECT i, ((i / 10) * 37 % 100) + (i % 10) * 0.3 AS total, ((i / 10) % 7 - 3) / 2.0 AS slope
    FROM generate_series(0, :keys * 2 - 1) AS i) AS drawn) AS rated""",
    "fatigue_day": """
INSERT INTO fatigue_day (account_id, as_of, input_hash, data_hash, data_version, stored_days, frequency_source,
  frequency_hash, calculator_version, settled, calculated_at)
SELECT DISTINCT account_id, as_of, '', '', 1, 60, '', '', 'canonical-6', false, :now FROM fatigue_score""",
    "access_pattern": f"""
INSERT INTO access_pattern (account_id, weekday, hour, weekday_name, opens, observed_hours, opens_per_hour,
  active_weeks, is_busy, is_peak, is_quiet, time_zone, observed_weeks, computed_at)
SELECT account_id, 1 + cell / 24, cell % 24,
  (ARRAY['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'])[1 + cell / 24],
  opens, 57, opens / 57.0, least(57, opens), opens > 30, opens > 45, opens < 5, 'Europe/Berlin', 57, :now
FROM (SELECT {_ACCOUNT.format("a")} AS account_id, cell, CASE WHEN cell % 24 BETWEEN 8 AND 17 AND cell < 120
    THEN 20 + (a + cell) % 30 ELSE (a + cell) % 6 END AS opens
  FROM generate_series(0, :accounts - 1) AS a, generate_series(0, 167) AS cell) AS drawn""",
    "access_profile": f"""
INSERT INTO access_profile (account_id, first_opens, keys, observed_from, observed_until, observed_weeks, time_zones,
  busy_hours, peak_hours, quiet_hours, evidence, popular_ranges, computed_at)
SELECT {_ACCOUNT.format("a")}, 2000 + a, 50, :now - interval '400 days', :now, 57, '{{"Europe/Berlin": 2000}}',
  'Mon-Fri 08:00-17:00', 'Mon 09:00, 10:00', 'Sat-Sun all day', '', '[]', :now
FROM generate_series(0, :accounts - 1) AS a""",
    "error_event": f"""
INSERT INTO error_event (at, source, kind, code, connection, account_id, subject, message)
SELECT :now - (20000 - i) * interval '129 seconds', CASE WHEN i % 9 = 0 THEN 'storage' ELSE 'meta' END,
  (ARRAY['Transient', 'Transient', 'Throttled', 'Denied', 'TooMuchData', 'TimeoutError'])[1 + i % 6],
  (ARRAY['503', '2', '17', '200', '100', NULL])[1 + i % 6], 'default', {_ACCOUNT.format("i % :accounts")},
  {_ACCOUNT.format("i % :accounts")} || ' last_7d', CASE WHEN i % 97 = 0 THEN :hostile ELSE 'the platform said no' END
FROM generate_series(1, 20000) AS i""",
    "request": f"""
INSERT INTO request (account_id, date_range, report, priority, status, enqueued_at, deadline, attempts, owner, error,
  error_kind, finished_at, token, token_id)
SELECT {_ACCOUNT.format("i % :accounts")}, {_RANGE.format("(i / :accounts)")},
  {_REPORT.format("(i / :accounts)")}, i % 4, status,
  at, at + interval '2 hours', 1 + i % 3, 'worker-' || i % 4,
  CASE WHEN status IN ('failed', 'expired', 'shed') THEN 'given up: ' || :hostile END,
  CASE WHEN status = 'failed' THEN 'Transient' END,
  CASE WHEN status NOT IN ('pending', 'processing') THEN at + interval '1 minute' END, 1, NULL
FROM (SELECT i, CASE WHEN i >= 20600 - 20 THEN 'processing' WHEN i >= 20000 THEN 'pending' WHEN i % 50 = 0 THEN 'failed'
    WHEN i % 51 = 0 THEN 'expired' WHEN i % 530 = 0 THEN 'shed' ELSE 'completed' END AS status,
  :now - (20600 - i) * interval '29 seconds' AS at FROM generate_series(0, 20599) AS i) AS drawn""",
    "warming_job": f"""
INSERT INTO warming_job (run_id, dag_id, status, total, done, failed, requests, started_at, finished_at, errors)
SELECT 'adwarm_intelligent_warming/scheduled__' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'),
  'adwarm_intelligent_warming', CASE WHEN i = :jobs - 1 THEN 'running' WHEN i % 300 = 0 THEN 'failed'
    ELSE 'completed' END, 347, CASE WHEN i = :jobs - 1 THEN 120 WHEN i % 300 = 0 THEN 0 ELSE 340 END,
  CASE WHEN i % 300 = 0 THEN 347 ELSE 7 END, 300, at, CASE WHEN i < :jobs - 1 THEN at + interval '9 minutes' END,
  '["act_1000001 last_7d: Transient: the platform answered 503"]'
FROM (SELECT i, :start + i * interval '{RUN_MINUTES} minutes' AS at
  FROM generate_series(0, :jobs - 1) AS i) AS drawn""",
    "capacity_sample": f"""
INSERT INTO capacity_sample (at, scope, "limit", in_flight, usage, is_parked)
SELECT :now - i * interval '15 minutes', scope, 12 + (i % 9), i % 12,
  CASE WHEN scope = 'fleet' THEN NULL ELSE 40 + 30 * sin(i / 15.0) END, i % 400 BETWEEN 20 AND 24 AND scope <> 'fleet'
FROM generate_series(0, 2879) AS i, unnest(ARRAY{list(SHARED_SCOPES)}) AS scope ORDER BY 1, 2""",
    "capacity_grant": f"""
INSERT INTO capacity_grant (id, token, scopes, priority, cost, source, probe, counted, owner, granted_at,
  expires_at)
SELECT 'grant-' || i, i, json_build_array('fleet', {_ACCOUNT.format("i")}), i % 4, 1, 'meta', false, true,
  'worker-' || i % 4 || '-' || :hostile, extract(epoch FROM :now) - i,
  extract(epoch FROM :now) + 86400 FROM generate_series(0, 11) AS i""",
    "policy": """
INSERT INTO policy (name, mode, updated_at, outlook, outlook_at)
SELECT 'live', 'live', :now, json_agg(json_build_object('hour', date_trunc('hour', :now) + i * interval '1 hour',
  'expected_opens', 900 + 700 * sin(i / 4.0), 'due_warms', (400 + 300 * sin(i / 4.0))::int,
  'expected_calls', 500 + 400 * sin(i / 4.0), 'call_quota', 1000)), :now FROM generate_series(0, 23) AS i
ON CONFLICT (name) DO UPDATE SET outlook = excluded.outlook, outlook_at = excluded.outlook_at""",
    "access_aggregate": """
INSERT INTO access_aggregate (hour, object_hash, opens, keys, updated_at)
SELECT date_trunc('hour', :now) - i * interval '1 hour', md5(i::text) || md5('a' || i), 9000, 4000, :now
FROM generate_series(0, 9599) AS i""",
    "reconciliation": f"""
INSERT INTO reconciliation (at, account_id, comparison, since, until, metric, expected, actual, differs)
SELECT :now - i * interval '20 minutes', {_ACCOUNT.format("i % :accounts")}, 'account', :today - 8, :today - 2,
  (ARRAY['spend', 'clicks', 'impressions'])[1 + i % 3], 1000, 1000 + (i % 100) / 99, i % 100 = 99
FROM generate_series(0, 4999) AS i""",
    "action_event": """
INSERT INTO action_event (at, actor, via, action, subject, arguments, succeeded, detail)
SELECT :now - i * interval '97 minutes', CASE WHEN i % 9 = 0 THEN :hostile ELSE 'admin' END, 'page',
  (ARRAY['warm_now', 'shadow_on', 'open_gate', 'purge'])[1 + i % 4], 'act_1000001 last_7d', '{}'::json, i % 17 > 0,
  'done' FROM generate_series(0, 4999) AS i UNION ALL
SELECT :now - i * interval '31 minutes', 'worker-1', 'healing',
  (ARRAY['token_refresh', 'session_restart', 'partition_refetch'])[1 + i % 3], 'connection:default',
  '{"source": "meta", "error_kind": "Transient", "seconds": 0.4}', i % 5 > 0,
  CASE WHEN i % 40 = 0 THEN :hostile ELSE 'read again' END FROM generate_series(0, 4999) AS i""",
    "data_arrival": f"""
INSERT INTO data_arrival (account_id, day, arrived_at, origin, planned_at, planned_run)
SELECT {_ACCOUNT.format("i / 5")}, :today - i % 5, :now - (i % 5) * interval '1 day', 'notify-data', NULL, NULL
FROM generate_series(0, :accounts * 5 - 1) AS i""",
    "lease": f"""
INSERT INTO lease (name, owner, token, expires_at)
SELECT {_ACCOUNT.format("i / 5")} || ' default ' || i % 5, 'worker-1', i, :now - interval '1 hour'
FROM generate_series(0, :accounts * 5 - 1) AS i""",
    "amount": """
INSERT INTO amount (since, name, subject, amount)
SELECT date_trunc('day', :now) - i * interval '1 day', name, subject, amount FROM generate_series(0, 89) AS i, (VALUES
  ('integrity.checked', 'entry', 90000), ('integrity.bytes', 'entry', 900000000),
  ('compression.packed', 'zstd', 30000), ('compression.unpacked', 'zstd', 50000),
  ('compression.raw_bytes', 'zstd', 1800000000), ('compression.stored_bytes', 'zstd', 270000000),
  ('compression.pack_seconds', 'zstd', 40), ('compression.unpack_seconds', 'zstd', 20)
) AS amounts (name, subject, amount)""",
    "quarantined_item": f"""
INSERT INTO quarantined_item (found_at, kind, name, account_id, reason, healed_at)
SELECT :now - i * interval '9 hours', 'object', md5(i::text), {_ACCOUNT.format("i")}, 'the checksum does not match',
  CASE WHEN i > 1 THEN :now END FROM generate_series(0, 99) AS i""",
}
"""Statements by table, apart from the two largest tables; all of them take the same parameters."""


def fill(engine: Engine, now: datetime, *, scale: float = 1.0) -> dict[str, float]:
    """Fill an empty database, and return the seconds that each table took.

    Args:
        engine: a PostgreSQL with the schema.
        now: the time of the newest rows.
        scale: size of the large tables, 1 for full size; accounts stay 2,000 or `2000 * scale` below that.
    """
    accounts = max(20, round(ACCOUNTS * min(1.0, scale)))
    runs = WARM_DAYS * 24 * 60 // RUN_MINUTES
    warms = max(runs, round(3_000_000 * scale))
    values = {
        "now": now,
        "today": now.date(),
        "start": now - timedelta(days=WARM_DAYS),
        "accounts": accounts,
        "keys": accounts * 50,
        "warms": warms,
        "per_run": warms / runs,
        "jobs": runs,
        "days": 400,
        "hostile": HOSTILE,
    }
    seconds = {}
    with write_transaction(engine) as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SELECT setseed(0.5)"))
        connection.execute(text("SET LOCAL maintenance_work_mem = '256MB'"))
        fill_small(connection, now, accounts)
        for name, statement in LARGE.items():
            seconds[name] = _run(connection, statement, values)
        for table, statement in ((traffic_hour, TRAFFIC), (warm, WARMS)):
            indexes = sorted(table.indexes, key=lambda index: str(index.name))
            for index in indexes:
                connection.execute(DropIndex(index))
            seconds[table.name] = _run(connection, statement, values)
            for index in indexes:
                seconds[f"index {index.name}"] = _run(connection, str(CreateIndex(index).compile(engine)), {})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        started = time.perf_counter()
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("VACUUM ANALYZE"))
        seconds["vacuum and analyze"] = time.perf_counter() - started
    return seconds


def count_rows(engine: Engine) -> dict[str, int]:
    """Return the number of rows of each table, as PostgreSQL estimates them after `ANALYZE`."""
    query = text(
        "SELECT relname, reltuples::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )
    with engine.connect() as connection:
        return {str(name): int(rows) for name, rows in connection.execute(query)}


def _run(connection: Connection, statement: str, values: dict[str, Any]) -> float:
    """Run a statement with the parameters that it names, and return the seconds it took."""
    started = time.perf_counter()
    query = text(statement)
    names = set(query.compile().params)
    connection.execute(query, {name: values[name] for name in names})
    return time.perf_counter() - started


def main(url: str, scale: float = 1.0) -> None:
    """Create the schema in an empty PostgreSQL at `url`, fill it, and print what took how long."""
    engine = open_engine(url)
    upgrade(engine)
    for name, seconds in fill(engine, SystemClock().now(), scale=scale).items():
        print(f"{seconds:8.1f} s  {name}")
    for name, rows in sorted(count_rows(engine).items()):
        print(f"{rows:>12,}  {name}")


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:3]))
