"""Which scores must be computed: what those of an account and as-of day depend on, as hashes.

Scores as of a day D of month M are a pure function of the account's stored days from `scan_start(M)` to D, the priors
of the account for M and for the month before, the frequencies of the week that ends on D, the settings and the version
of the calculation; and of which ads share a creative, as it is known by then. Nothing after D is in the data, so the
order in which days are scored does not matter.

The prior of M is measured on settled days only, and on none that are younger on the first of M than the age at which
days settle: otherwise it would change through the month as days settle, and all scores of the month with it.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property, lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Final

import numpy as np
import orjson

from adwarm.compression import unpack_document
from adwarm.fatigue.panel import round_figures
from adwarm.fatigue.prior import DEFAULT_PRIOR, PRIOR_DAYS
from adwarm.fatigue.score import CALCULATOR_VERSION, SCAN_DAYS
from adwarm.fatigue.text_columns import read_frequencies
from adwarm.fetch_plan import HISTORY_DAYS
from adwarm.foundation.errors import BadRequest, Corrupt
from adwarm.model import ColumnTable, Window
from adwarm.settings import Settings
from adwarm.store import Context, creatives, entries, fatigue_days, partitions, scores
from adwarm.store.creatives import AdCreative
from adwarm.store.entries import Entry
from adwarm.store.fatigue_days import DayKey, MonthKey, ScoreInputs, StoredPrior
from adwarm.store.partitions import DayContent

_DAY: Final = timedelta(days=1)
_get_day = attrgetter("day")
Frequency = tuple[str, str]
"""Where the frequencies of an account's week come from: start of the hash of the document, empty without one; and hash
of the frequencies, empty without any."""
_PAYLOADS_AT_ONCE: Final = 100


def month_of(day: date) -> date:
    """Return the first day of the month."""
    return day.replace(day=1)


def month_before(month: date) -> date:
    """Return the first day of the month before."""
    return month_of(month - _DAY)


def group_by_month(days: Iterable[date]) -> dict[date, list[date]]:
    """Return the days of each month, all in order."""
    return {month: list(of_month) for month, of_month in groupby(sorted(days), month_of)}


def scan_start(month: date) -> date:
    """Return the first day that scores of a month look at: `SCAN_DAYS` before the month before.

    The alarms that last at the beginning of the month are those of a scan that begins there.
    """
    return month_before(month) - timedelta(days=SCAN_DAYS)


def prior_window(month: date, settings: Settings) -> Window:
    """Return the days that the prior of a month is measured on, where they are settled."""
    until = month - timedelta(days=settings.freshness.settle_days)
    return Window(until - timedelta(days=PRIOR_DAYS), until - _DAY)


def first_day_used(day: date, settings: Settings) -> date:
    """Return the first day that scores as of a day, or their prior, may look at."""
    month = month_of(day)
    return min(scan_start(month), prior_window(month_before(month), settings).since)


def short_hash(parts: Iterable[str]) -> str:
    """Return 16 hexadecimal digits that identify texts in their order."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class DayInputs:
    """What the scores of an account and as-of day are computed from, and whether the day itself is stored."""

    inputs: ScoreInputs
    is_stored: bool


@dataclass
class AccountWork:
    """The scores of an account to compute.

    Attributes:
        contents: its stored days, oldest first.
        days: what to compute, by as-of day.
        replaced: what the stored scores of those days were computed from.
        rescored: those of the days that were not requested, but whose data changed.
        unchanged: requested days whose scores need not be computed again.
    """

    account_id: str
    contents: Sequence[DayContent]
    days: dict[date, DayInputs] = field(default_factory=dict)
    replaced: dict[date, ScoreInputs] = field(default_factory=dict)
    rescored: set[date] = field(default_factory=set)
    unchanged: int = 0

    @cached_property
    def months(self) -> dict[date, list[date]]:
        """The days to compute, by month; to be read once all are selected."""
        return group_by_month(self.days)

    @cached_property
    def prior_months(self) -> set[date]:
        """The months whose priors are used."""
        return {*self.months, *map(month_before, self.months)}


def select_days(
    work: AccountWork, now: Mapping[date, DayInputs], before: Mapping[date, ScoreInputs], requested: Collection[date]
) -> None:
    """Add to `work` the days to score.

    Those are the requested ones whose inputs differ from those of their stored scores, and other days with stored
    scores whose data changed. Data that is gone (by retention, by a change of the query, or while damaged days wait to
    be fetched again) changes no other day: it would only make good scores worse.

    Args:
        now: what each day's scores would be computed from.
        before: what its stored scores were computed from.
        requested: as-of days to score in any case.
    """
    for day in sorted({*requested, *before}):
        current, stored = now.get(day), before.get(day)
        if day in requested:
            if current is None:
                continue
            if stored is not None and stored.input_hash == current.inputs.input_hash:
                work.unchanged += 1
                continue
        elif current is None or stored is None or not _has_newer_data(current, stored):
            continue
        else:
            work.rescored.add(day)
        work.days[day] = current
        if stored is not None:
            work.replaced[day] = stored


def _has_newer_data(current: DayInputs, stored: ScoreInputs) -> bool:
    is_complete = current.is_stored and current.inputs.stored_days >= stored.stored_days
    return is_complete and bool(stored.data_hash) and current.inputs.data_hash != stored.data_hash


@dataclass
class BlockInputs:
    """What the scores of some accounts are computed from.

    Attributes:
        contents: stored days by account, oldest first.
        stored: what stored scores were computed from, by account and as-of day.
        weeks: entries of weeks, by account and last day.
        priors: by account and month: stored snapshots, and those to measure; see `find_prior`.
        creatives: by account and ad, the creatives that several ads of the account share.
        since: first stored day that is read.
    """

    context: Context
    contents: Mapping[str, list[DayContent]]
    stored: Mapping[str, Mapping[date, ScoreInputs]]
    weeks: Mapping[DayKey, Entry]
    priors: dict[MonthKey, StoredPrior]
    creatives: Mapping[str, Mapping[str, AdCreative]]
    since: date
    _checked: set[MonthKey] = field(default_factory=set)
    _figures: dict[DayKey, dict[str, float]] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.context.settings

    @cached_property
    def _settings_hash(self) -> str:
        """The hash of what scores depend on apart from data."""
        values = self.settings.fatigue.model_dump(mode="json", exclude={"alert_at"})
        return short_hash([orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode(), CALCULATOR_VERSION])

    def list_changed(self, account_ids: Sequence[str]) -> list[str]:
        """Return those of the accounts of which days were stored, replaced or settled since the inputs were read."""
        if not account_ids:
            return []
        spec_hash = self.settings.spec("default").hash
        now = partitions.sum_contents(self.context.engine, account_ids, spec_hash, self.since)
        return [name for name in account_ids if now.get(name) != partitions.sum_of(self.contents.get(name, ()))]

    def find_prior(self, account_id: str, month: date) -> StoredPrior:
        """Return the prior of a month; without figures when it is to be measured first, on the days of `prior_days`.

        A stored snapshot is used when it was made from these days, or from more than are left of them.
        """
        key = account_id, month
        if key not in self._checked:
            self._checked.add(key)
            days = self.prior_days(account_id, month)
            made_from = short_hash(map(_describe_day, days)) if days else ""
            stored = self.priors.get(key)
            if (
                stored is None
                or stored.calculator_version != CALCULATOR_VERSION
                or (stored.input_hash != made_from and stored.stored_days <= len(days))
            ):
                version = sum(item.data_version for item in days)
                figures = {} if days else DEFAULT_PRIOR.to_dict()
                self.priors[key] = StoredPrior(figures, made_from, version, len(days), CALCULATOR_VERSION)
        return self.priors[key]

    def prior_days(self, account_id: str, month: date) -> list[DayContent]:
        """Return the days that the prior of a month is measured on: the settled ones of its window."""
        window, contents = prior_window(month, self.settings), self.contents.get(account_id, [])
        first = bisect_left(contents, window.since, key=_get_day)
        return [item for item in contents[first : bisect_right(contents, window.until, key=_get_day)] if item.settled]

    def day_inputs(self, account_id: str, days: Collection[date], requested: Collection[date]) -> dict[date, DayInputs]:
        """Return what the scores of an account depend on, by as-of day; a day without any stored day is left out.

        Raises:
            Corrupt: the document with the frequencies of a requested day is damaged.
            BadRequest: a row of such a document cannot be read.
        """
        results: dict[date, DayInputs] = {}
        for of_month in group_by_month(days).values():
            results |= self._month_inputs(account_id, of_month, self.frequencies(account_id, of_month, requested))
        return results

    def _month_inputs(
        self, account_id: str, days: Sequence[date], frequencies: Mapping[date, Frequency]
    ) -> dict[date, DayInputs]:
        """Return the inputs of as-of days of one month, in order."""
        contents, month = self.contents.get(account_id, []), month_of(days[0])
        prior_hash = " ".join(self.find_prior(account_id, each).input_hash for each in (month_before(month), month))
        position = start = bisect_left(contents, scan_start(month), key=_get_day)
        digest, version, unsettled = hashlib.sha256(), 0, 0
        results = {}
        # Other creatives are like other settings: they change the scores of days that are asked for, and no others.
        of_account = self.creatives.get(account_id, {}).values()
        shared = [f"{item.ad_id} {item.creative_id} {item.title}" for item in of_account]
        for as_of in days:
            end = bisect_right(contents, as_of, position, key=_get_day)
            digest.update("".join(f"{_describe_day(item)}\n" for item in contents[position:end]).encode())
            version += sum(item.data_version for item in contents[position:end])
            unsettled += sum(not item.settled for item in contents[position:end])
            position = end
            if end == start:
                continue
            history = end - bisect_left(contents, as_of - timedelta(days=HISTORY_DAYS - 1), start, key=_get_day)
            settled = not unsettled and history == HISTORY_DAYS
            source, frequency_hash = frequencies.get(as_of, ("", ""))
            data_hash = short_hash([digest.hexdigest(), prior_hash, frequency_hash, str(settled)])
            inputs = ScoreInputs(
                input_hash=short_hash([data_hash, self._settings_hash, *shared]),
                data_hash=data_hash,
                data_version=version,
                stored_days=end - start,
                frequency_source=source,
                frequency_hash=frequency_hash,
                calculator_version=CALCULATOR_VERSION,
                settled=settled,
            )
            results[as_of] = DayInputs(inputs, contents[end - 1].day == as_of)
        return results

    def frequencies(
        self, account_id: str, days: Collection[date], requested: Collection[date]
    ) -> dict[date, Frequency]:
        """Return where the frequencies of an account come from, by as-of day; days without any are left out.

        A document is read only when it is another one than that behind the stored scores. Once a document is gone,
        stored scores keep the frequencies that they were computed with.

        Raises:
            Corrupt: the document of a requested day is damaged; that of another day is ignored until it is fetched
                again.
            BadRequest: a row of such a document cannot be read.
        """
        stored = self.stored.get(account_id, {})
        results = {}
        for day in days:
            before, entry = stored.get(day), self.weeks.get((account_id, day))
            if entry is None:
                if before is not None and before.frequency_hash:
                    results[day] = before.frequency_source, before.frequency_hash
                continue
            source = entry.content_hash[:16]
            if before is not None and before.frequency_source == source:
                results[day] = source, before.frequency_hash
                continue
            try:
                results[day] = source, _hash_figures(self.read_figures(account_id, [day])[day])
            except (Corrupt, BadRequest):
                if day in requested or before is None:
                    raise
                results[day] = before.frequency_source, before.frequency_hash
        return results

    def read_figures(self, account_id: str, days: Collection[date]) -> dict[date, dict[str, float]]:
        """Return the frequency by ad id of each as-of day.

        Raises:
            Corrupt: a document is damaged.
        """
        missing = [day for day in sorted(days) if (account_id, day) not in self._figures]
        hashes = {
            entry.key: entry.payload_hash for day in missing if (entry := self.weeks.get((account_id, day))) is not None
        }
        for start in range(0, len(hashes), _PAYLOADS_AT_ONCE):
            keys = list(hashes)[start : start + _PAYLOADS_AT_ONCE]
            for entry, sealed in entries.find_many(self.context.engine, {key: hashes[key] for key in keys}):
                table = unpack_document(sealed, self.settings.compression).window_table
                self._figures[account_id, entry.key.window.until] = _read_figures(table)
        gone = [day for day in missing if (account_id, day) not in self._figures]
        scored = [day for day in gone if day in self.stored.get(account_id, {})]
        self._figures.update({(account_id, day): {} for day in gone})
        for day, figures in scores.list_frequencies(self.context.engine, account_id, scored).items():
            self._figures[account_id, day] = figures
        return {day: self._figures[account_id, day] for day in days}


def load_inputs(context: Context, requested: Mapping[str, Collection[date]]) -> BlockInputs:
    """Return what the scores of up to some hundreds of accounts are computed from.

    Args:
        requested: by account id, the as-of days that are asked for.
    """
    settings = context.settings
    stored = fatigue_days.list_inputs(context.engine, requested)
    days = {day for listed in requested.values() for day in listed}
    days |= {day for listed in stored.values() for day in listed}
    months = {month_of(day) for day in days}
    spec_hash = settings.spec("default").hash
    since = first_day_used(min(days), settings)
    weeks = entries.list_weeks(context.engine, requested, spec_hash, min(days))
    return BlockInputs(
        context=context,
        contents=partitions.list_contents(context.engine, requested, spec_hash, since),
        stored=stored,
        weeks={(key.account_id, key.window.until): entry for key, entry in weeks.items()},
        priors=fatigue_days.list_priors(
            context.engine, requested, sorted(months | {month_before(day) for day in months})
        ),
        creatives=creatives.list_shared(context.engine, requested),
        since=since,
    )


@lru_cache(maxsize=4_096)
def _describe_day(item: DayContent) -> str:
    """Return a stored day as it stands in hashes; it is in those of several months."""
    return f"{item.day} {item.content_hash}"


def _hash_figures(figures: Mapping[str, float]) -> str:
    return short_hash(f"{ad_id} {value!r}" for ad_id, value in sorted(figures.items())) if figures else ""


def _read_figures(table: ColumnTable) -> dict[str, float]:
    """Return the frequency by ad id, rounded as in stored scores, so that these can stand in for the document."""
    figures = {ad_id: value for (_, ad_id), value in read_frequencies(table.to_rows()).items()}
    rounded = round_figures(np.array(list(figures.values()), np.float64))
    return dict(zip(figures, rounded.tolist(), strict=True))
