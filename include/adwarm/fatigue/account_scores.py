"""Scores the ads of accounts from stored rows; never calls the platform.

Accounts are scored in blocks: their days are read once, each month of a block is one scan over arrays of ads x days,
and an account's scores are stored in one transaction. A run that is killed leaves whole accounts, and the next run does
the rest.

Runs may fetch and score days of one account at the same time. A day that arrives while another run computes later days
is in that run's scores, too: each run looks again after it has stored its own, so the last one leaves none behind.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import chain, pairwise
from typing import Any, Final, TypeVar

import numpy as np

from adwarm.compression import flush_statistics
from adwarm.fatigue.alarm import detect
from adwarm.fatigue.as_of import (
    AccountWork,
    BlockInputs,
    first_day_used,
    load_inputs,
    month_before,
    prior_window,
    scan_start,
    select_days,
)
from adwarm.fatigue.by_creative import add_frequencies, add_up
from adwarm.fatigue.crossings import alert_on_crossings
from adwarm.fatigue.panel import FIELDS, AdPanel, FloatArray, cut_panel, empty_figures
from adwarm.fatigue.panel_rows import AdRows, parse_rows
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior, measure_priors
from adwarm.fatigue.score import make_columns, score_panel
from adwarm.foundation import telemetry
from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, NotFound, TooMuchData
from adwarm.foundation.wording import format_count
from adwarm.model import Window
from adwarm.recovery import Call, RecoveryPipeline
from adwarm.recovery.call import STORED_DATA
from adwarm.store import Context, fatigue_days, quarantine, scores
from adwarm.store.partition_rows import DamagedObjects, daily_texts
from adwarm.store.quarantine import LostDays
from adwarm.store.scores import DayScores

T = TypeVar("T")
DAMAGE: Final = (Corrupt, NotFound, TooMuchData, BadRequest)
"""Errors that concern one account alone."""
_ACCOUNTS_PER_QUERY: Final = 200
_BLOCK_ROWS = 200_000
"""Daily rows of a block: 150 MB when the scores of half of them are computed, measured with 180,000 rows and 90,000
scores; a tenth of that for one day of each account."""
_TRANSACTION_SCORES = 10_000
"""Scores of several accounts that are stored together, so that no other writer waits for long."""


@dataclass(slots=True)
class BlockResult:
    """The scores of a block.

    Attributes:
        scores: by account, one item per as-of day.
        errors: by account, why it could not be scored; such an account has no scores.
        left_out: rows that are left out, and why.
    """

    scores: dict[str, list[DayScores]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, AdwarmError] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Tables:
    """The rows of a block.

    Attributes:
        rows: of all accounts, with the ads of a creative as one.
        ads: of each ad, by account; only of accounts in which ads share a creative.
        part_of: by account, the keys of creatives, by id of each ad that shares one.
    """

    rows: AdRows
    ads: dict[str, AdRows] = field(default_factory=dict)
    part_of: dict[str, dict[str, str]] = field(default_factory=dict)


def score_block(inputs: BlockInputs, block: Sequence[AccountWork], now: datetime) -> BlockResult:
    """Return the scores of the accounts of a block, and store the priors that were measured for them."""
    result = BlockResult()
    tables = _read_tables(inputs, block, result)
    if tables is None:
        return result
    readable = [work for work in block if work.account_id not in result.errors]
    for month in sorted({month for work in readable for month in work.prior_months}):
        _measure_priors(inputs, [work for work in readable if month in work.prior_months], tables.rows, month)
    keys = [(work.account_id, month) for work in readable for month in work.prior_months]
    new = {key: prior for key in keys if not (prior := inputs.find_prior(*key)).version and prior.input_hash}
    fatigue_days.save_priors(inputs.context.engine, new, now)
    for month in sorted({month for work in readable for month in work.months}):
        works = [work for work in readable if month in work.months and work.account_id not in result.errors]
        _score_month(inputs, works, tables, month, result)
    for account_id in result.errors:
        result.scores.pop(account_id, None)
    return result


def _read_tables(inputs: BlockInputs, block: Sequence[AccountWork], result: BlockResult) -> _Tables | None:
    """Return the rows of all days that the scores use; None when none can be read."""
    windows = {work.account_id: _list_windows(inputs, work) for work in block}
    listed = [*chain.from_iterable(windows.values())]
    span = Window(min(window.since for window in listed), max(window.until for window in listed))
    ads: dict[str, AdRows] = {}
    part_of: dict[str, dict[str, str]] = {}

    def read(work: AccountWork) -> AdRows | None:
        name, of_account = work.account_id, windows[work.account_id]
        contents = {item.day: item for item in work.contents if any(item.day in window for window in of_account)}
        try:
            table = daily_texts(inputs.context.objects, contents, span, FIELDS)
            added, keys = add_up(table, inputs.creatives.get(name, {}))
            if keys:
                ads[name], part_of[name] = parse_rows(name, table, span), keys
            return parse_rows(name, added, span)
        except DAMAGE as error:
            result.errors[name] = error
            return None

    parts = {work.account_id: rows for work, rows in zip(block, inputs.context.objects.map(read, block), strict=True)}
    by_account = {name: rows for name, rows in sorted(parts.items()) if rows is not None}
    result.left_out += chain.from_iterable(ads.get(name, rows).left_out for name, rows in by_account.items())
    return _Tables(AdRows.join([*by_account.values()]), ads, part_of) if by_account else None


def _list_windows(inputs: BlockInputs, work: AccountWork) -> list[Window]:
    """Return the days that the scores of an account use."""
    months = [month for month in work.prior_months if not inputs.find_prior(work.account_id, month).figures]
    windows = [Window(scan_start(month), days[-1]) for month, days in work.months.items()]
    return windows + [prior_window(month, inputs.settings) for month in months]


def _measure_priors(inputs: BlockInputs, works: Iterable[AccountWork], rows: AdRows, month: date) -> None:
    """Measure the priors of a month that are not stored."""
    missing = [work.account_id for work in works if not inputs.find_prior(work.account_id, month).figures]
    if not missing:
        return
    days = {name: [item.day for item in inputs.prior_days(name, month)] for name in missing}
    panel = cut_panel(rows, prior_window(month, inputs.settings), days, stored_only=True)
    measured = measure_priors(panel, month)
    for name in missing:
        figures = measured.get(name, DEFAULT_PRIOR).to_dict()
        inputs.priors[name, month] = replace(inputs.find_prior(name, month), figures=figures)


def _score_month(
    inputs: BlockInputs, works: Sequence[AccountWork], tables: _Tables, month: date, result: BlockResult
) -> None:
    """Add the scores of one month to the result."""
    if not works:
        return
    columns, spans = _score_rows(inputs, works, tables, month, result.errors)
    shared = [work for work in works if work.account_id in tables.ads]
    parts, part_spans = _score_rows(inputs, shared, tables, month, result.errors, of_parts=True) if shared else ({}, {})
    for work in works:
        for day in work.months[month]:
            before = work.replaced.get(day)
            first, last = spans.get((work.account_id, day), (0, 0))
            beneath = part_spans.get((work.account_id, day))
            item = DayScores(
                account_id=work.account_id,
                as_of=day,
                columns=columns,
                first=first,
                last=last,
                inputs=work.days[day].inputs,
                replaces=None if before is None else before.input_hash,
                parts=beneath and (parts, *beneath),
            )
            result.scores[work.account_id].append(item)


def _score_rows(
    inputs: BlockInputs,
    works: Sequence[AccountWork],
    tables: _Tables,
    month: date,
    errors: dict[str, AdwarmError],
    *,
    of_parts: bool = False,
) -> tuple[dict[str, list[Any]], dict[tuple[str, date], tuple[int, int]]]:
    """Return the scores of creatives and other ads, or of the ads that are part of a creative; see `make_columns`.

    The account's move of a day and its limit are those of all creatives, or else those of all ads.
    """
    days = {work.account_id: work.months[month] for work in works}
    span = Window(scan_start(month), max(listed[-1] for listed in days.values()))
    stored = {work.account_id: [item.day for item in work.contents] for work in works}
    rows = AdRows.join([tables.ads[name] for name in sorted(days)]) if of_parts else tables.rows
    panel = cut_panel(rows, span, stored)
    earlier, priors = (
        {name: AccountPrior.from_dict(inputs.find_prior(name, of_month).figures) for name in days}
        for of_month in (month_before(month), month)
    )
    settings = inputs.settings.fatigue
    frequencies = _frequencies(inputs, panel, days, tables, errors)
    since = panel.column(min(listed[0] for listed in days.values()))
    table = score_panel(panel, priors, frequencies, settings, since)
    alarms = detect(panel, priors, settings, earlier, panel.column(month))
    return make_columns(table, alarms, days, tables.part_of if of_parts else None)


def _frequencies(
    inputs: BlockInputs,
    panel: AdPanel,
    days: Mapping[str, Sequence[date]],
    tables: _Tables,
    errors: dict[str, AdwarmError],
) -> FloatArray:
    """Return the frequency of each ad in the week that ends on each scored day, nan where it is unknown."""
    frequencies = empty_figures(len(panel.ad_ids), panel.days)
    for first, last in pairwise([*panel.account_starts.tolist(), len(panel.ad_ids)]):
        account_id = panel.account_ids[first]
        try:
            figures = inputs.read_figures(account_id, days[account_id])
        except DAMAGE as error:
            errors[account_id] = error
            continue
        for day, by_ad in figures.items():
            if by_ad:
                rows, part_of = tables.ads.get(account_id), tables.part_of.get(account_id, {})
                frequency_of = by_ad | ({} if rows is None else add_frequencies(by_ad, part_of, rows, day))
                values = [frequency_of.get(ad_id, np.nan) for ad_id in panel.ad_ids[first:last]]
                frequencies[first:last, panel.column(day)] = values
    return frequencies


@dataclass
class ScoringResult:
    """The counts of a scoring run.

    Attributes:
        unchanged: accounts whose data had not changed since their last scores.
        without_data: accounts without a stored day.
        rescored_days: days of accounts that were scored again although nobody asked for them, as their data changed.
        errors: a message per account whose data could not be read.
        bands: scores by status, on the days that were asked for.
        creatives: those with such a score, each once; an ad may stand for itself.
        left_out: rows that are not used, as a figure in them is not a number of 0 or more, with the reason.
        without_delivery: days of accounts as of which no ad had any delivery.
        without_history: scores that are pending because too many of the days before are not stored.
        without_frequency: scores that lack the audience component.
    """

    accounts: int = 0
    unchanged: int = 0
    without_data: int = 0
    rescored_days: int = 0
    errors: list[str] = field(default_factory=list)
    bands: dict[str, int] = field(default_factory=dict)
    creatives: int = 0
    left_out: list[str] = field(default_factory=list)
    without_delivery: int = 0
    without_history: int = 0
    without_frequency: int = 0

    def to_dict(self) -> dict[str, object]:
        """Return the counts as JSON values."""
        return dict(vars(self))

    def __str__(self) -> str:
        if not self.accounts + self.unchanged + self.without_data + len(self.errors):
            return "no account to score"
        creatives, scores = format_count(self.creatives, "creative"), sum(self.bands.values())
        bands = ", ".join(f"{count:,} {name}" for name, count in sorted(self.bands.items()))
        accounts = format_count(self.accounts, "account")
        on_days = f", {format_count(scores, 'score')}" if scores != self.creatives else ""
        parts = (
            [f"scored {creatives} of {accounts}{on_days}" + (f" ({bands})" if bands else "")] if self.accounts else []
        )
        if self.without_delivery:
            parts.append(f"{format_count(self.without_delivery, 'account-day')} without delivery of any ad up to it")
        if self.without_history:
            few = "too few of the days before are stored; `adwarm backfill run` fetches them"
            parts.append(f"{self.without_history:,} of them pending because {few}")
        if scores and self.without_frequency == scores:
            parts.append("the audience component is left out: the frequency of no ad is known")
        if self.rescored_days:
            parts.append(f"rescored {format_count(self.rescored_days, 'other day')} whose data changed")
        parts += [f"{format_count(self.unchanged, 'account')} unchanged since the last score"] if self.unchanged else []
        parts += [f"{format_count(self.without_data, 'account')} without a stored day"] if self.without_data else []
        parts += [f"{len(self.errors):,} could not be scored"] if self.errors else []
        rows = (
            f"left out {format_count(len(self.left_out), 'row')}, such as {self.left_out[0]}" if self.left_out else ""
        )
        parts += [rows] if rows else []
        return "; ".join(parts)


def score_accounts(
    context: Context, pairs: Sequence[tuple[str, date]], now: datetime, pipeline: RecoveryPipeline | None = None
) -> ScoringResult:
    """Score each account as of its days, and other days with scores whose data changed since.

    A day is left as it is when its scores were made from the same data, settings and version of the calculation. The
    scores of a day use the newest restatement of the days up to it, and the frequency of the week that ends on it. An
    account with several days counts once in the result.

    Args:
        pipeline: heals damaged days, so that they are fetched again, and delivers alerts on ads that got worse; None to
            report damaged days only.
    """
    result = ScoringResult()
    level = context.settings.spec("default").level
    if level != "ad":
        problem = f"scores need rows of ads, and the report `default` has rows of the level {level}"
        result.errors.append(f"{problem}; set ADWARM_REPORTS__DEFAULT__LEVEL=ad")
        return result
    requested: dict[str, set[date]] = defaultdict(set)
    for account_id, as_of in pairs:
        requested[account_id].add(as_of)
    run = _Run(context, now, pipeline, result, quarantine.list_lost_days(context.engine))
    ids = sorted(requested)
    for start in range(0, len(ids), _ACCOUNTS_PER_QUERY):
        run.score({account_id: requested[account_id] for account_id in ids[start : start + _ACCOUNTS_PER_QUERY]})
    if pipeline is not None:
        alert_on_crossings(context, run.stored, now, pipeline)
    for status, count in result.bands.items():
        telemetry.report(telemetry.SCORED_ADS, count, status=status)
    flush_statistics(context.engine, now)
    return result


@dataclass(slots=True)
class _Run:
    context: Context
    now: datetime
    pipeline: RecoveryPipeline | None
    result: ScoringResult
    lost: Sequence[LostDays]
    counted: set[str] = field(default_factory=set)
    creatives: set[tuple[str, str]] = field(default_factory=set)
    stored: set[tuple[str, date]] = field(default_factory=set)

    def score(self, requested: Mapping[str, set[date]]) -> None:
        """Score up to some hundreds of accounts, and again those whose stored days changed meanwhile."""
        changed = self._score_once(requested)
        while changed:
            changed = self._score_once({account_id: set() for account_id in changed})

    def _score_once(self, requested: Mapping[str, set[date]]) -> list[str]:
        """Score accounts, and return those with scores whose stored days have changed since they were read."""
        inputs = load_inputs(self.context, requested)
        listed = [work for account_id, days in requested.items() if (work := self._plan(inputs, account_id, days))]
        for name, days in requested.items():  # also what has its scores: a run that was killed has alerted nobody
            self.stored |= {(name, day) for day in days & inputs.stored.get(name, {}).keys()}
        failed: set[str] = set()
        for block in _split(listed, lambda work: sum(item.rows for item in work.contents), _BLOCK_ROWS):
            done = score_block(inputs, block, self.now)
            failed |= set(done.errors)
            self.result.left_out += [text for text in done.left_out if text not in self.result.left_out]
            for work in block:
                if (error := done.errors.get(work.account_id)) is not None:
                    self._fail(work.account_id, max(work.days), error)
            self._publish(done.scores.values(), block)
        scored = [work.account_id for work in listed if work.account_id not in failed]
        return inputs.list_changed(scored)

    def _plan(self, inputs: BlockInputs, account_id: str, requested: set[date]) -> AccountWork | None:
        """Return what to compute for an account; None when that is nothing.

        Without requested days those with scores are looked at, and nothing is counted when they are as they should be.
        """
        before = inputs.stored.get(account_id, {})
        lost = self._find_lost(account_id, requested)
        if lost is not None:
            day, days = lost
            self._fail(account_id, day, NotFound(f"the days {days.window} were damaged and are not fetched again yet"))
            return None
        work = AccountWork(account_id, inputs.contents.get(account_id, ()))
        try:
            current = inputs.day_inputs(account_id, {*requested, *before}, requested)
        except DAMAGE as error:
            self._fail(account_id, max(requested or before), error)
            return None
        select_days(work, current, before, requested)
        if work.days:
            return work
        self.result.unchanged += bool(work.unchanged)
        self.result.without_data += bool(requested) and not work.unchanged
        return None

    def _find_lost(self, account_id: str, requested: set[date]) -> tuple[date, LostDays] | None:
        """Return a requested day that looks at days that were set aside as damaged; without those it would be wrong."""
        settings = self.context.settings
        spec = settings.spec("default")
        of_account = [days for days in self.lost if (days.account_id, days.spec_hash) == (account_id, spec.hash)]
        pairs = ((day, days) for day in sorted(requested) for days in of_account)
        return next(
            ((day, days) for day, days in pairs if days.overlaps(Window(first_day_used(day, settings), day))), None
        )

    def _publish(self, accounts: Iterable[list[DayScores]], block: Sequence[AccountWork]) -> None:
        rescored = {(work.account_id, day) for work in block for day in work.rescored}
        for of_accounts in _split(accounts, lambda days: sum(item.ads for item in days), _TRANSACTION_SCORES):
            group = list(chain.from_iterable(of_accounts))
            stored = scores.publish_days(self.context.engine, group, self.now)
            self.stored |= stored
            self.counted |= {item.account_id for item in group}
            self.result.accounts = len(self.counted)
            self.result.rescored_days += len(stored & rescored)
            for item in group:
                if (item.account_id, item.as_of) in rescored:
                    continue
                self.creatives |= {(item.account_id, ad_id) for ad_id in item.values("ad_id")}
                flags = "".join(item.values("baseline"))  # to count a name is faster than to decode each
                self.result.without_delivery += not flags
                self.result.without_history += flags.count('"history_missing"')
                self.result.without_frequency += flags.count('"frequency_missing"')
                self.result.creatives = len(self.creatives)
                for status, count in Counter(item.values("status")).items():
                    self.result.bands[status] = self.result.bands.get(status, 0) + count

    def _fail(self, account_id: str, as_of: date, error: AdwarmError) -> None:
        pipeline = self.pipeline if isinstance(error, DamagedObjects) else None
        if isinstance(error, BadRequest):
            advice = "fix the rows at their source and fetch the day again"
        elif pipeline is not None and pipeline.heal(error, call=Call(STORED_DATA, account_id=account_id)) is not None:
            advice = "its days are fetched again"
        else:
            advice = "run `adwarm maintain --verify --repair` and fetch it again"
        self.result.errors.append(f"{account_id} {as_of}: {error}; {advice}")


def _split(items: Iterable[T], size_of: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """Yield items in groups of up to `limit`; a larger one is a group of its own."""
    group: list[T] = []
    size = 0
    for item in items:
        if group and size + size_of(item) > limit:
            yield group
            group, size = [], 0
        group.append(item)
        size += size_of(item)
    if group:
        yield group
