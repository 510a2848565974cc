"""Scores the ads of accounts from stored rows; never calls the platform."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from adwarm.compression import flush_statistics, unpack_document
from adwarm.fatigue.row_notices import save_row_notices
from adwarm.fatigue.score import CALCULATOR_VERSION, score_account
from adwarm.foundation import telemetry
from adwarm.foundation.errors import AdwarmError, Corrupt, NotFound, TooMuchData
from adwarm.foundation.wording import format_count
from adwarm.model import EntryKey, Row, Window
from adwarm.recovery import Call, RecoveryPipeline
from adwarm.recovery.call import STORED_DATA
from adwarm.settings import Settings
from adwarm.store import Context, entries, partitions, quarantine, scores
from adwarm.store.entries import Entry
from adwarm.store.partition_rows import DamagedObjects, daily_rows
from adwarm.store.quarantine import LostDays


@dataclass
class ScoringResult:
    """The counts of a scoring run.

    Attributes:
        accounts: accounts that were scored.
        unchanged: accounts whose data had not changed since their last scores.
        without_data: accounts without a stored day.
        errors: a message per account whose data could not be read.
        bands: scored ads by status.
    """

    accounts: int = 0
    unchanged: int = 0
    without_data: int = 0
    errors: list[str] = field(default_factory=list)
    bands: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return the counts as JSON values."""
        return dict(vars(self))

    def __str__(self) -> str:
        if not self.accounts + self.unchanged + self.without_data + len(self.errors):
            return "no account to score"
        ads = format_count(sum(self.bands.values()), "ad")
        bands = ", ".join(f"{count:,} {name}" for name, count in sorted(self.bands.items()))
        parts = [f"scored {ads} of {format_count(self.accounts, 'account')}" + (f" ({bands})" if bands else "")]
        parts += [f"{self.unchanged:,} unchanged since their last score"] if self.unchanged else []
        parts += [f"{self.without_data:,} without a stored day"] if self.without_data else []
        parts += [f"{len(self.errors):,} could not be scored"] if self.errors else []
        return "; ".join(parts)


def score_accounts(
    context: Context, pairs: Sequence[tuple[str, date]], now: datetime, pipeline: RecoveryPipeline | None = None
) -> ScoringResult:
    """Score each account as of its day, unless that day's scores were made from the same data.

    The scores use the newest restatement of the days up to that day, and the frequency of the week that ends on it.

    Args:
        context: the store and the settings.
        pairs: account id and day, each.
        now: when the scores are made.
        pipeline: heals damaged days, so that they are fetched again; None to report them only.
    """
    result = ScoringResult()
    level = context.settings.spec("default").level
    if level != "ad":
        problem = f"scores need rows of ads, and the report `default` has rows of the level {level}"
        result.errors.append(f"{problem}; set ADWARM_REPORTS__DEFAULT__LEVEL=ad")
        return result
    lost = quarantine.list_lost_days(context.engine)
    for account_id, as_of in pairs:
        try:
            _check_not_lost(context, account_id, as_of, lost)
            _score_one(context, account_id, as_of, now, result)
        except (Corrupt, NotFound, TooMuchData) as error:
            is_healed = pipeline is not None and _heal(pipeline, account_id, error)
            advice = "its days are fetched again" if is_healed else "run `adwarm verify --repair` and fetch it again"
            result.errors.append(f"{account_id} {as_of}: {error}; {advice}")
    result.errors += save_row_notices(context, pairs, now)
    for status, count in result.bands.items():
        telemetry.report(telemetry.SCORED_ADS, count, status=status)
    flush_statistics(context.engine, now)
    return result


def _heal(pipeline: RecoveryPipeline, account_id: str, error: AdwarmError) -> bool:
    call = Call(STORED_DATA, account_id=account_id)
    return isinstance(error, DamagedObjects) and pipeline.heal(error, call=call) is not None


def _get_window(context: Context, as_of: date) -> Window:
    return Window(as_of - timedelta(days=context.settings.planning.history_days - 1), as_of)


def _check_not_lost(context: Context, account_id: str, as_of: date, lost: Sequence[LostDays]) -> None:
    """Check that no day was set aside as damaged and is not fetched again yet: without it scores would be wrong.

    Raises:
        NotFound: there is such a day.
    """
    window, spec = _get_window(context, as_of), context.settings.spec("default")
    for days in lost:
        if (days.account_id, days.spec_hash) == (account_id, spec.hash) and days.overlaps(window):
            raise NotFound(f"the days {days.window} were damaged and are not fetched again yet")


def _score_one(
    context: Context,
    account_id: str,
    as_of: date,
    now: datetime,
    result: ScoringResult,
) -> None:
    settings = context.settings
    spec = settings.spec("default")
    window = _get_window(context, as_of)
    states = partitions.list_states(context.engine, account_id, spec.hash, window)
    if not states:
        result.without_data += 1
        return
    week = entries.find(context.engine, EntryKey(account_id, Window(as_of - timedelta(days=6), as_of), spec.hash))
    version = sum(state.data_version for state in states.values()) + (1 if week else 0)
    if scores.find_data_version(context.engine, account_id, as_of, CALCULATOR_VERSION) == version:
        result.unchanged += 1
        return
    rows = daily_rows(context.objects, states, window)
    scored = score_account(rows, _weekly_summary_rows(week, settings), as_of, settings.fatigue)
    # Meta's rows name the account by digits alone.
    published = [replace(score, account_id=account_id) for score in scored]
    settled = all(day in states and states[day].settled for day in window.days())
    scores.publish(context.engine, published, data_version=version, settled=settled, at=now)
    result.accounts += 1
    for score in published:
        result.bands[str(score.status)] = result.bands.get(str(score.status), 0) + 1


def _weekly_summary_rows(week: tuple[Entry, bytes] | None, settings: Settings) -> list[Row]:
    """Return the rows of the week's range summary, which hold the frequency; none when it is not stored."""
    if week is None:
        return []
    return unpack_document(week[1], settings.compression).window_table.to_rows()
