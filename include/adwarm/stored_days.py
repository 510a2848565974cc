"""The stored days of accounts as a typed table, for notebooks and BI tools: as a DataFrame, and as a view for DuckDB.

Both have the same columns, types and spelling of ids, and hold each object and day once. Nothing is fetched.
"""

import warnings
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import make_url

from adwarm.foundation.errors import Corrupt
from adwarm.foundation.home import absolute_path
from adwarm.foundation.wording import format_count, format_part
from adwarm.model import ColumnTable, QuerySpec, Window
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import Context, partitions
from adwarm.store.accounts import find_id
from adwarm.store.partition_rows import daily_table
from adwarm.store.partitions import PartitionState
from adwarm_client import NotReady, ReportWarning
from adwarm_client.report_fields import AMOUNT_FIELDS, COUNT_FIELDS, DAY_FIELDS, to_frame

if TYPE_CHECKING:
    import pandas as pd

_DAY_FACTS: Final = ("complete", "settled", "fetched_at")


def load_days(
    accounts: str | Iterable[str],
    since: date | str,
    until: date | str,
    report: str = "default",
    *,
    allow_partial: bool = False,
    context: Context | None = None,
) -> "pd.DataFrame":
    """Return the stored daily rows of accounts: one row per object of the report's level and day.

    Args:
        accounts: one account id or several, such as `act_1234`.
        since: the first day, in the data zone of each account, as a date or `YYYY-MM-DD`.
        until: the last day.
        report: a report of the settings.
        allow_partial: whether to return what there is when days are not stored or could not be read whole. One
            `ReportWarning` is given then; `frame.attrs["adwarm"]["missing"]` says what is missing, by account and day.
        context: database, object store and settings; those of the environment by default.

    Returns:
        The columns `account_id` and `date_start`, the fields of the report's query in its order, and of each day
        whether it had ended when it was fetched (`complete`), whether the platform no longer restates it (`settled`),
        and when it was fetched (UTC). Counts are `Int64`, money and ratios `float64`, days timestamps, ids and names
        text. Rows are sorted by account, in the order of `accounts`, then by day and id.

    Raises:
        NotReady: days are not stored, or could not be read whole.
        BadRequest: an account id or the report is not valid.
        Corrupt: the rows of a day are damaged; the reader that met them has recorded it.
    """
    context = context or Runtime().context
    spec = context.settings.spec(report)
    window = Window(_to_date(since), _to_date(until))
    ids = dict.fromkeys(find_id(context, text) for text in ([accounts] if isinstance(accounts, str) else accounts))
    states = {name: partitions.list_states(context.engine, name, spec.hash, window) for name in ids}
    missing = {name: lacks for name in ids if (lacks := _find_missing(states[name], window))}
    if missing:
        message = _describe(missing, window)
        if not allow_partial:
            raise NotReady(f"{message}; `adwarm backfill run` fetches past days, allow_partial=True returns the others")
        warnings.warn(message, ReportWarning, stacklevel=2)
    tables = [_read_account(context, name, states[name], window) for name in ids]
    frame = to_frame(_with_all_columns(ColumnTable.concatenate(tables), spec))
    frame.attrs["adwarm"] = {"window": str(window), "missing": missing}
    return frame


def write_duckdb_view(settings: Settings, report: str = "default") -> str:
    """Return the SQL by which DuckDB reads what `load_days` returns, as the view `days`; it contains no password.

    The view reads the objects that the table `partition` points at, and nothing else in their folder. It fails when
    days were fetched again after its list of files was made, so it never returns a part of them.

    Args:
        settings: where database and objects are.
        report: a report of the settings.

    Raises:
        BadRequest: no such report is configured.
    """
    spec = settings.spec(report)
    url, root = make_url(settings.database), settings.data if "://" in settings.data else absolute_path(settings.data)
    is_file = url.get_backend_name() == "sqlite"
    server = url.set(drivername="postgresql")._replace(password=None).render_as_string()
    source = str(absolute_path(url.database or "")) if is_file else server
    fetched_at = "CAST(fetched_at AS TIMESTAMP) AT TIME ZONE 'UTC'" if is_file else "fetched_at"  # SQLite has no zones
    fields = _list_fields(spec)
    empty = ", ".join(f"NULL::VARCHAR AS {_name(name)}" for name in ("date_start", *fields))
    columns = "".join(f",\n  {_typed(name)} AS {_name(name)}" for name in fields)
    return f"""\
ATTACH {_text(source)} AS adwarm (TYPE {"sqlite" if is_file else "postgres"}, READ_ONLY);
SET VARIABLE since = current_date - 30;
SET VARIABLE until = current_date - 1;
CREATE OR REPLACE TEMP VIEW live_days AS
SELECT account_id, CAST(day AS DATE) AS day, "rows", CAST(complete AS BOOLEAN) AS complete,
  CAST(settled AS BOOLEAN) AS settled, {fetched_at} AS fetched_at,
  {_text(f"{root}/objects/")} || object_hash[1:2] || '/' || object_hash || '.parquet' AS file
FROM adwarm."partition"
WHERE spec_hash = '{spec.hash}' AND CAST(day AS DATE) BETWEEN getvariable('since') AND getvariable('until');
SET VARIABLE files = (SELECT list(DISTINCT file) FROM live_days WHERE "rows" > 0);
CREATE OR REPLACE TEMP VIEW days AS
SELECT live.account_id, live.day AS date_start{columns},
  live.complete, live.settled, live.fetched_at
FROM (
  SELECT * FROM read_parquet(getvariable('files'), union_by_name = true, filename = 'file')
  UNION ALL BY NAME SELECT {empty} WHERE false
) AS stored
JOIN live_days AS live ON live.file = stored.file AND live.day = CAST(stored.date_start AS DATE)
WHERE CASE WHEN EXISTS (FROM live_days WHERE "rows" > 0 AND NOT list_contains(getvariable('files'), file))
  THEN error('days were fetched again, or since and until are others: set the variable files again') ELSE true END;
"""  # noqa: S608 -- names and paths of the settings, quoted


def _to_date(day: date | str) -> date:
    return date.fromisoformat(str(day)[:10])


def _find_missing(states: dict[date, PartitionState], window: Window) -> dict[str, str]:
    """Return what each day lacks, by day; nothing for a day that is stored whole."""
    lacks = {day: states[day].missing if day in states else "not stored" for day in window.days()}
    return {day.isoformat(): what for day, what in lacks.items() if what is not None}


def _describe(missing: dict[str, dict[str, str]], window: Window) -> str:
    account, days = next(iter(missing.items()))
    (day, what), others = next(iter(days.items())), len(missing) - 1
    more = f", and days of {format_count(others, 'other account')}" if others else ""
    return f"{account} lacks {format_part(len(days), len(window), 'day')}, the first {day}: {what}{more}"


def _read_account(context: Context, account: str, states: dict[date, PartitionState], window: Window) -> ColumnTable:
    try:
        table = daily_table(context.objects, states, window)
    except Corrupt as error:
        context.on_damage(error, account, f"days {window}")
        raise
    days = [states[date.fromisoformat(text)] for text in table.columns.get("date_start", [])]
    facts: dict[str, list[Any]] = {name: [getattr(state, name) for state in days] for name in _DAY_FACTS}
    return ColumnTable(table.rows, {**table.columns, "account_id": [account] * table.rows, **facts})


def _list_fields(spec: QuerySpec) -> list[str]:
    """Return the fields beside account and day, in the order of the query; what tells rows apart is always there."""
    names = dict.fromkeys((*spec.identity, *spec.fields))
    return [name for name in names if name not in {"account_id", *DAY_FIELDS}]


def _with_all_columns(table: ColumnTable, spec: QuerySpec) -> ColumnTable:
    """Return the columns of the query in its order, also those without any value."""
    names = ("account_id", "date_start", *_list_fields(spec), *_DAY_FACTS)
    return ColumnTable(table.rows, {name: table.columns.get(name, [None] * table.rows) for name in names})


def _typed(name: str) -> str:
    """Return the SQL of a field; a number that was written as JSON has quotes."""
    number = f"CAST(trim(stored.{_name(name)}, '\"') AS DOUBLE)"
    if name in COUNT_FIELDS:
        return f"CAST({number} AS BIGINT)"
    return number if name in AMOUNT_FIELDS else f"stored.{_name(name)}"


def _name(text: str) -> str:
    escaped = text.replace('"', '""')
    return f'"{escaped}"'


def _text(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"
