"""What scores of some accounts are computed from, read from the database: days, frequencies, priors, earlier scores."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import numpy as np

from adwarm.compression import unpack_document
from adwarm.fatigue.as_of import (
    AccountWork,
    DayInputs,
    Frequency,
    PriorInputs,
    first_day_used,
    month_before,
    month_of,
    prior_inputs,
    short_hash,
)
from adwarm.fatigue.history import read_frequencies
from adwarm.fatigue.panel import round_figures
from adwarm.fatigue.score import CALCULATOR_VERSION
from adwarm.foundation.errors import BadRequest, Corrupt
from adwarm.model import ColumnTable
from adwarm.settings import Settings
from adwarm.store import Context, entries, fatigue_days, partitions, scores
from adwarm.store.entries import Entry
from adwarm.store.fatigue_days import DayKey, MonthKey, ScoreInputs, StoredPrior
from adwarm.store.partitions import DayContent

_PAYLOADS_AT_ONCE: Final = 100


@dataclass(slots=True)
class BlockInputs:
    """What the scores of some accounts are computed from.

    Attributes:
        context: the store and the settings.
        contents: stored days by account, oldest first.
        stored: what stored scores were computed from, by account and as-of day.
        weeks: entries of weeks, by account and last day.
        priors: newest snapshots by account and month.
        since: first stored day that is read.
        confirmed_sources: documents that were read and have the frequencies that are scored already.
    """

    context: Context
    contents: Mapping[str, list[DayContent]]
    stored: Mapping[str, Mapping[date, ScoreInputs]]
    weeks: Mapping[DayKey, Entry]
    priors: dict[MonthKey, StoredPrior]
    since: date
    confirmed_sources: dict[DayKey, tuple[str, str]] = field(default_factory=dict)
    _prior_inputs: dict[MonthKey, PriorInputs] = field(default_factory=dict)
    _figures: dict[DayKey, dict[str, float]] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.context.settings

    def list_changed(self, account_ids: Sequence[str]) -> list[str]:
        """Return those of the accounts of which days were stored, replaced or settled since the inputs were read."""
        if not account_ids:
            return []
        spec_hash = self.settings.spec("default").hash
        now = partitions.sum_contents(self.context.engine, account_ids, spec_hash, self.since)
        return [name for name in account_ids if now.get(name) != partitions.sum_of(self.contents.get(name, ()))]

    def find_prior(self, account_id: str, month: date) -> StoredPrior | None:
        """Return the snapshot to use for a month; None when one is to be measured, or nothing is there to measure."""
        prior = self.priors.get((account_id, month))
        matches = prior is not None and self.prior_inputs(account_id, month).matches(prior, CALCULATOR_VERSION)
        return prior if matches else None

    def prior_inputs(self, account_id: str, month: date) -> PriorInputs:
        """Return what the prior of a month is measured on."""
        key = account_id, month
        if key not in self._prior_inputs:
            self._prior_inputs[key] = prior_inputs(self.contents.get(account_id, ()), month, self.settings)
        return self._prior_inputs[key]

    def prior_hash(self, account_id: str, month: date) -> str:
        """Return the hash of the days behind the priors of a month and of the month before."""
        hashes = []
        for wanted in (month_before(month), month):
            prior = self.find_prior(account_id, wanted)
            hashes.append(self.prior_inputs(account_id, wanted).hash if prior is None else prior.input_hash)
        return " ".join(hashes)

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
                    results[day] = Frequency(before.frequency_source, before.frequency_hash)
                continue
            source = _source(entry)
            if before is not None and before.frequency_source == source:
                results[day] = Frequency(source, before.frequency_hash)
                continue
            try:
                results[day] = Frequency(source, _hash_figures(self.read_figures(account_id, [day])[day]))
            except (Corrupt, BadRequest):
                if day in requested or before is None:
                    raise
                results[day] = Frequency(before.frequency_source, before.frequency_hash)
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
                self._figures[account_id, entry.key.window.until] = _read_figures(table, entry.key.window.until)
        gone = [day for day in missing if (account_id, day) not in self._figures]
        scored = [day for day in gone if day in self.stored.get(account_id, {})]
        self._figures.update({(account_id, day): {} for day in gone})
        for day, figures in scores.list_frequencies(self.context.engine, account_id, scored).items():
            self._figures[account_id, day] = figures
        return {day: self._figures[account_id, day] for day in days}

    def confirm_sources(self, work: AccountWork, current: Mapping[date, DayInputs]) -> None:
        """Remember the documents that changed nothing, so that the next run need not read them again."""
        for day, before in self.stored.get(work.account_id, {}).items():
            item = current.get(day)
            if day in work.days or item is None or item.inputs.frequency_source == before.frequency_source:
                continue
            if item.inputs.frequency_hash == before.frequency_hash:
                self.confirmed_sources[work.account_id, day] = item.inputs.frequency_source, before.input_hash


def load_inputs(context: Context, requested: Mapping[str, Collection[date]]) -> BlockInputs:
    """Return what the scores of up to some hundreds of accounts are computed from.

    Args:
        context: the store and the settings.
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
        since=since,
    )


def _source(entry: Entry) -> str:
    return (entry.content_hash or entry.payload_hash)[:16]


def _hash_figures(figures: Mapping[str, float]) -> str:
    return short_hash(f"{ad_id} {value!r}" for ad_id, value in sorted(figures.items())) if figures else ""


def _read_figures(table: ColumnTable, until: date) -> dict[str, float]:
    """Return the frequency by ad id, rounded as in stored scores, so that these can stand in for the document."""
    figures = {ad_id: value for (_, ad_id), value in read_frequencies(table.to_rows(), until).items()}
    rounded = round_figures(np.array(list(figures.values()), np.float64))
    return dict(zip(figures, rounded.tolist(), strict=True))
