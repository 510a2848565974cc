"""Reads the open log by day, while an ingest is planned: every split of a run, and its commit, see the same opens.

The files of a day are gathered into one object, so that workers read it by hash, and what is closed meanwhile waits
for the next run. Memory is bounded by the opens of the busiest day.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from adwarm.access_log.open_tables import OPEN_FILE_SCHEMA, read_open_files
from adwarm.access_log.timestamps import HOUR
from adwarm.store import Context, accounts
from adwarm.store.aggregates import LogFileProgress
from adwarm.store.objects import ObjectStore
from adwarm.store.open_files import OpenFile, OpenFiles

OpensFrom = Literal["user", "adwarm", "both"]
ONE_DAY = timedelta(days=1)
DAY_COLUMNS = ("ts", "account_id", "date_range", "report", "actor", "latency_ms", "request_id")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OpenSources:
    """The choice of the settings, and that of accounts which have their own.

    Attributes:
        default: for accounts without a choice.
    """

    default: OpensFrom = "both"
    by_account: Mapping[str, OpensFrom] = field(default_factory=dict)

    @classmethod
    def load(cls, context: Context) -> "OpenSources":
        """Return the choices as they are now. Without a log of the user's, all opens come from the open log."""
        chosen = cast("dict[str, OpensFrom]", accounts.get_opens_from(context.engine))
        return cls(context.settings.access_log.opens_from, chosen)

    @property
    def reads_user_log(self) -> bool:
        """Whether any account's opens may come from the user's log."""
        return self._any_but("adwarm")

    @property
    def reads_open_log(self) -> bool:
        """Whether any account's opens may come from the open log."""
        return self._any_but("user")

    @property
    def splits_user_log(self) -> bool:
        """Whether opens of some accounts in the user's log do not count."""
        return "adwarm" in {self.default, *self.by_account.values()}

    def choose(self, account_id: str) -> OpensFrom:
        """Return whose log counts the opens of an account."""
        return self.by_account.get(account_id, self.default)

    def select(self, account_ids: Iterable[str], source: Literal["user", "adwarm"]) -> list[bool]:
        """Return for each account whether its opens in the log of `source` count."""
        return [self.choose(account_id) in {source, "both"} for account_id in account_ids]

    def _any_but(self, choice: str) -> bool:
        return any(value != choice for value in (self.default, *self.by_account.values()))


@dataclass(frozen=True, slots=True)
class OpenDay:
    """One UTC day of the open log as a run sees it.

    Attributes:
        day: days since the epoch.
        path: identifies the day among the files of the logs.
        size: bytes of its files; files never change, so it grows when one is added.
        newest_hour: the hour since the epoch of its newest open.
        digest: the object with its opens, columns `DAY_COLUMNS`; empty when nothing of it is read.
        opens: how many there are, of any actor.
    """

    day: int
    path: str
    size: int
    newest_hour: int
    digest: str
    opens: int

    def progress(self, now: datetime) -> LogFileProgress:
        """Return the day as a file that has been read."""
        checkpoints = [[self.newest_hour, 0]]
        return LogFileProgress(
            path=self.path,
            size=self.size,
            mtime=0.0,
            offset=self.size,
            checkpoints=checkpoints,
            events=self.opens,
            rejected=0,
            read_at=now,
        )


def list_open_files(
    context: Context, since: datetime | None = None, until: datetime | None = None
) -> dict[date, list[OpenFile]]:
    """Return the closed files of the days from `since` to `until`, by day; empty when there is no open log."""
    files = OpenFiles(context.settings.data)
    first = None if since is None else since.astimezone(UTC).date()
    last = None if until is None else until.astimezone(UTC).date()
    return files.list_files(files.list_days(first, last))


def has_open_files(context: Context) -> bool:
    """Whether the read API has ever logged an open that is still kept."""
    return bool(OpenFiles(context.settings.data).list_days())


def read_open_days(
    context: Context, sources: OpenSources, files_by_day: Mapping[date, Sequence[OpenFile]]
) -> list[OpenDay]:
    """Read the days and store the opens of each, oldest first; opens of accounts that do not use them are left out."""
    return [_read_day(context, sources, day, files) for day, files in sorted(files_by_day.items())]


def load_open_day(objects: ObjectStore, day: OpenDay | None) -> pa.Table:
    """Return the opens of a day, columns `DAY_COLUMNS`; None has none."""
    if day is None or not day.digest:
        return OPEN_FILE_SCHEMA.empty_table().select(DAY_COLUMNS)
    return pq.read_table(pa.BufferReader(objects.get(day.digest)))


def _read_day(context: Context, sources: OpenSources, day: date, files: Sequence[OpenFile]) -> OpenDay:
    stored = OpenFiles(context.settings.data)
    tables = []
    for result in read_open_files(stored, files):
        if isinstance(result, str):
            log.warning("a file of the open log cannot be read and is left out: %s", result)
        else:
            tables.append(result)
    opens = pa.concat_tables([OPEN_FILE_SCHEMA.empty_table(), *tables]).select(DAY_COLUMNS)
    opens = _select(opens, sources, list(context.settings.reports))
    # Equal files give equal bytes, whatever their order.
    opens = opens.sort_by([(name, "ascending") for name in DAY_COLUMNS])
    number = day.toordinal() - date(1970, 1, 1).toordinal()
    newest = int(pc.max(opens["ts"]).cast(pa.int64()).as_py()) // HOUR if len(opens) else number * 24
    size = sum(file.size for file in files)
    return OpenDay(
        day=number,
        path=f"{stored.url}/{day}",
        size=size,
        newest_hour=newest,
        digest=_store(context.objects, opens),
        opens=len(opens),
    )


def _select(opens: pa.Table, sources: OpenSources, reports: list[str]) -> pa.Table:
    """Return the opens that count by the settings."""
    accounts = opens["account_id"].combine_chunks().dictionary_encode()
    is_selected = np.array(sources.select(accounts.dictionary.to_pylist(), "adwarm"), np.bool_)
    is_wanted = is_selected[accounts.indices.to_numpy(zero_copy_only=False)] if len(opens) else np.zeros(0, np.bool_)
    return opens.filter(pc.and_(pa.array(is_wanted), pc.is_in(opens["report"], pa.array(reports, pa.string()))))


def _store(objects: ObjectStore, opens: pa.Table) -> str:
    if not len(opens):
        return ""
    sink = pa.BufferOutputStream()
    pq.write_table(opens, sink, compression="zstd")
    return objects.put(sink.getvalue().to_pybytes())
