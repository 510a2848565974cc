"""Compares the groups of a report with breakdowns with the plain rows that are stored of the same days, without a call.

| the day                          | its groups do not add up where a figure of them is                              |
|----------------------------------|---------------------------------------------------------------------------------|
| is final in both reports         | another than that of the plain rows, beyond rounding                            |
| has ended                        | lower by more than a correction of the platform explains                        |
| is running                       | zero, while the plain rows have some                                            |
| is not stored without breakdowns | not compared; once it is, its final groups are, and are read again if too low   |

A day that does not add up is stored with what it lacks, and is not final: `fetch_plan` says when it is read again. The
plain rows are those of a report of the same level, else of the nearest one below, which lacks deleted ads as well.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from adwarm.fetch_plan import RefetchSchedule
from adwarm.foundation.errors import Corrupt
from adwarm.model import ColumnTable, QuerySpec, Row, Window
from adwarm.model.breakdowns import adds_up
from adwarm.prefetch.fetch_context import FetchContext
from adwarm.prefetch.gap_filling import GROUPS, MissingData
from adwarm.settings import Settings
from adwarm.sources.formats import ADDITIVE_FIELDS
from adwarm.sources.units import LEVELS
from adwarm.store import Context, data_arrivals, partitions
from adwarm.store.partition_rows import by_day, daily_texts
from adwarm.store.partitions import TOTAL, PartitionState
from adwarm.store.reconciliations import DAYS, ComparedFigure, describe_all, find_newest, format_figure, insert_figures

log = logging.getLogger(__name__)
TOLERANCE = 0.005
"""Relative difference of sums that counts as rounding: platforms round clicks of many ads, and spend to cents."""
_CORRECTION, _CORRECTED_UNITS = Decimal("0.05"), Decimal(2)
"""How much of a figure the platform may take back until a day is final, such as clicks of machines."""
_HALF_A_CENT = Decimal("0.005")
_REPEAT = timedelta(days=1)


def differ(metric: str, expected: Decimal, actual: Decimal, tolerance: float, rows: int) -> bool:
    """Return whether two sums differ by more than rounding.

    Args:
        rows: rows that were summed, whose money is rounded to cents.
    """
    slack = Decimal(str(tolerance)) * max(abs(expected), abs(actual))
    if metric == "spend":
        slack = max(slack, _HALF_A_CENT * (rows + 1))
    elif ":" in metric:
        slack = max(slack, Decimal(1))
    return abs(expected - actual) > slack


def add_up(values: Iterable[object]) -> Decimal:
    """Return the exact sum of figures as the platform sends them; a missing one is zero."""
    return sum((Decimal(str(value)) for value in values if value is not None and value != ""), Decimal(0))


@dataclass(frozen=True, slots=True)
class ComparedDay:
    """A figure of a day: the sum of the plain rows of a report, that of the groups, and whether these do not add up."""

    day: date
    metric: str
    report: str
    expected: Decimal
    actual: Decimal
    is_short: bool

    @property
    def gap(self) -> MissingData:
        """What the day lacks, as it is stored with it."""
        actual, expected = (format_figure(self.metric, float(value)) for value in (self.actual, self.expected))
        reason = f"{actual} of the {expected} {self.metric} of the report {self.report}"
        return MissingData(GROUPS, TOTAL, (Window(self.day, self.day),), reason)


def list_plain(spec: QuerySpec, settings: Settings) -> dict[str, QuerySpec]:
    """Return the reports to whose rows the groups of `spec` add up, by name, those of the nearest level first."""
    if not spec.breakdowns or not adds_up(spec.breakdowns):
        return {}
    named = {name: settings.spec(name) for name in ("default", *settings.reports)}
    depth = LEVELS.index(spec.level)
    plain = [item for item in named.items() if not item[1].breakdowns and LEVELS.index(item[1].level) >= depth]
    return dict(sorted(plain, key=lambda item: LEVELS.index(item[1].level)))


@dataclass(frozen=True, slots=True)
class GroupCheck:
    """Compares the days of one account and report with breakdowns.

    Attributes:
        spec: the query of the report, without fields that could not be read.
        at: when the groups were read.
    """

    context: Context
    account_id: str
    spec: QuerySpec
    schedule: RefetchSchedule
    at: datetime

    def compare(self, groups: Mapping[date, Sequence[Row]]) -> list[ComparedDay]:
        """Return the days that are stored without breakdowns, each with a figure that does not add up where one does.

        Args:
            groups: the rows of each day.
        """
        compared: dict[date, ComparedDay] = {}
        for report, plain in list_plain(self.spec, self.context.settings).items():
            figures = [name for name in ADDITIVE_FIELDS if name in self.spec.fields and name in plain.fields]
            left = groups.keys() - compared.keys()
            if left and figures:
                states = self._list_whole(plain, left)
                for day, rows in self._read(states).items():
                    of_day = [self._compare(states[day], name, report, rows, groups[day]) for name in figures]
                    compared[day] = next((item for item in of_day if item.is_short), of_day[0])
        return [compared[day] for day in sorted(compared)]

    def find_stored_short(self, days: Sequence[date]) -> list[date]:
        """Return those of the days whose final stored groups do not add up to the plain rows."""
        states = self._list_whole(self.spec, days)
        groups = self._read({day: state for day, state in states.items() if state.settled})
        return [item.day for item in self.compare(groups) if item.is_short]

    def _list_whole(self, spec: QuerySpec, days: Iterable[date]) -> dict[date, PartitionState]:
        window = Window(min(days), max(days))
        states = partitions.list_states(self.context.engine, self.account_id, spec.hash, window)
        return {day: state for day, state in states.items() if day in days and state.missing is None}

    def _read(self, states: Mapping[date, PartitionState]) -> Mapping[date, Sequence[Row]]:
        """Return the figures of the rows of stored days; nothing where some are damaged, which their readers notice."""
        if not states:
            return {}
        window = Window(min(states), max(states))
        try:
            table = daily_texts(self.context.objects, states, window, frozenset(ADDITIVE_FIELDS))
        except Corrupt as error:
            log.warning("%s: groups are not compared: %s", self.account_id, error)
            return {}
        rows = by_day(table.to_pylist())
        return {day: rows.get(day, []) for day in states}

    def _compare(
        self, state: PartitionState, metric: str, report: str, plain: Sequence[Row], groups: Sequence[Row]
    ) -> ComparedDay:
        expected, actual = (add_up(row.get(metric) for row in rows) for rows in (plain, groups))
        if state.settled and self.schedule.is_final(state.day, self.at):
            is_short = differ(metric, expected, actual, TOLERANCE, len(plain) + len(groups))
        elif state.day < self.schedule.today(self.at):
            is_short = expected - actual > max(_CORRECTED_UNITS, _CORRECTION * expected)
        else:  # two requests of a running day may be a quarter of an hour apart
            is_short = not actual and expected > _CORRECTED_UNITS
        return ComparedDay(state.day, metric, report, expected=expected, actual=actual, is_short=is_short)


def find_difference(spec: QuerySpec, daily: ColumnTable, summary: Sequence[Row]) -> str | None:
    """Return how the groups of a range differ from those of its days; None where they agree, or without breakdowns."""
    for metric in ADDITIVE_FIELDS if spec.breakdowns else ():
        days, whole = add_up(daily.columns.get(metric, ())), add_up(row.get(metric) for row in summary)
        if abs(days - whole) > max(_CORRECTED_UNITS, _CORRECTION * max(days, whole)):
            of_range, of_days = (format_figure(metric, float(value)) for value in (whole, days))
            return f"{GROUPS} summary: {of_range} {metric} over the range, and {of_days} as the sum of its days"
    return None


def restate_short(plain: GroupCheck, days: Sequence[date]) -> None:
    """Mark final days of groups to be read again that do not add up to plain rows that were stored after them.

    Args:
        plain: the account and report of the plain rows.
        days: those that were stored now for the first time.
    """
    settings = plain.context.settings
    for spec in map(settings.spec, settings.reports):
        if plain.spec in list_plain(spec, settings).values():
            short = replace(plain, spec=spec).find_stored_short(days)
            data_arrivals.restate(plain.context.engine, plain.account_id, short, spec.hash, plain.at)


def record_days(
    context: FetchContext, source: str, check: GroupCheck, *, report: str, days: Sequence[ComparedDay]
) -> None:
    """Store that the groups of days do not add up, or add up again, and alert when it is news that they do not.

    Args:
        source: the name of the source, which the alert is about.
        days: what `compare` returned.
    """
    chosen = [item for item in days if item.is_short] or days
    if not chosen:
        return
    metric, is_short = chosen[0].metric, chosen[0].is_short
    of_metric = [item for item in chosen if item.metric == metric]
    figure = ComparedFigure(
        at=check.at,
        account_id=check.account_id,
        comparison=DAYS,
        since=of_metric[0].day,
        until=of_metric[-1].day,
        metric=f"{metric} ({report})",
        expected=float(sum(item.expected for item in of_metric)),
        actual=float(sum(item.actual for item in of_metric)),
        differs=is_short,
    )
    before = find_newest(context.engine, check.account_id, DAYS, report)
    was_short = before is not None and before.differs
    if is_short and (before is None or not before.differs or before.at <= check.at - _REPEAT):
        insert_figures(context.engine, [figure])
    if is_short and not was_short:
        context.pipeline.alert(source, "Reconciliation", describe_all([figure]))
    if was_short and not is_short and not partitions.list_short(context.engine, check.account_id, check.spec.hash):
        insert_figures(context.engine, [figure])
