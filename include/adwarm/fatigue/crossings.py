"""Alerts on ads that got worse: one message for each account and scoring run.

| an ad is named when                                                                                            |
|----------------------------------------------------------------------------------------------------------------|
| it has a new alarm, or its status is worse than on its last scored day and at least that of `fatigue.alert_at` |
| its score is of the newest scored day of the account, and that day ended less than four days ago               |
| it had a score before: a new ad and one that was pending are no news                                           |
| it was not named for the same day, nor within 24 hours for the same or a worse level                           |

So backfills and ads that stay fatigued make no message.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from adwarm.fatigue.recommendation import describe_loss, recommend
from adwarm.foundation.wording import format_count
from adwarm.model import FatigueScore, FatigueStatus
from adwarm.recovery import RecoveryPipeline
from adwarm.recovery.channels import AD_FATIGUE
from adwarm.store import Context, fatigue_alerts
from adwarm.store.alerts import NewAlert
from adwarm.store.fatigue_alerts import AdAlert
from adwarm.store.scores import EarlierScore, find_earlier, find_newest_days, list_worst

_LEVELS: Final = {"healthy": 0, "pending": 0, "warning": 1, "critical": 2, "alarm": 3}
_BANDS: Final[tuple[FatigueStatus, ...]] = ("warning", "critical")
_QUIET: Final = timedelta(hours=24)
_NEWS_DAYS: Final = 4
_LOOK_BACK: Final = timedelta(days=7)
_NAMED: Final = 10
_NAME_LENGTH: Final = 60


@dataclass(frozen=True, slots=True)
class _Crossing:
    score: FatigueScore
    level: int
    before: EarlierScore


def alert_on_crossings(
    context: Context, published: Iterable[tuple[str, date]], now: datetime, pipeline: RecoveryPipeline
) -> int:
    """Raise an alert for each account with ads that got worse, and return how many ads they name.

    Args:
        published: accounts and as-of days whose scores were stored just now, of up to some hundreds of accounts.
    """
    level = context.settings.fatigue.alert_at
    recent = now.date() - timedelta(days=_NEWS_DAYS)
    days = {(account_id, day) for account_id, day in published if day >= recent}
    if level == "off" or not days:
        return 0
    bands, named = [band for band in _BANDS if _LEVELS[band] >= _LEVELS[level]], 0
    newest = find_newest_days(context.engine, {account_id for account_id, _ in days})
    for account_id, day in sorted(newest.items() & days):
        scores = list_worst(context.engine, account_id, day, bands)
        crossings = _find_crossings(context, account_id, scores, _LEVELS[level])
        named += _alert(context, account_id, crossings, now, pipeline) if crossings else 0
    return named


def _levels(score: FatigueScore | EarlierScore) -> tuple[int, int]:
    """Return the level of a status, and that of the status or the alarm."""
    status = _LEVELS[score.status]
    return status, _LEVELS["alarm"] if score.alarm == "alarm" else status


def _find_crossings(context: Context, account_id: str, scores: Sequence[FatigueScore], least: int) -> list[_Crossing]:
    """Return the ads whose level rose since their last scored day, the worst first."""
    if not scores:
        return []
    day = scores[0].as_of
    ads = {account_id: [score.ad_id for score in scores]}
    before = find_earlier(context.engine, ads, day - _LOOK_BACK, day)
    crossings = []
    for score in scores:
        earlier = before.get((account_id, score.ad_id))
        if earlier is None or earlier.status == "pending":
            continue
        # A status that got worse under an alarm that was there before is no news at the level `alarm`.
        pairs = zip(_levels(score), _levels(earlier), strict=True)
        risen = [now for now, then in pairs if now > then and now >= least]
        if risen:
            crossings.append(_Crossing(score, max(risen), earlier))
    return sorted(crossings, key=lambda item: (-item.level, -(item.score.loss or 0.0), item.score.ad_id))


def _alert(
    context: Context, account_id: str, crossings: Sequence[_Crossing], now: datetime, pipeline: RecoveryPipeline
) -> int:
    """Raise the alert of an account about the ads that were not named lately, and return how many these are."""
    fresh: list[_Crossing] = []

    def build(connection: Connection) -> NewAlert | None:
        earlier_alerts = fatigue_alerts.lock(connection, account_id, {item.score.ad_id for item in crossings}, now)
        fresh[:] = [item for item in crossings if _is_fresh(item, earlier_alerts[item.score.ad_id], now)]
        if not fresh:
            return None
        rows = [AdAlert(item.score.ad_id, item.score.as_of, item.level, now) for item in fresh]
        fatigue_alerts.save(connection, account_id, rows)
        return _build_alert(context, account_id, fresh, now)

    pipeline.alert_about(build)
    return len(fresh)


def _is_fresh(item: _Crossing, last: AdAlert, now: datetime) -> bool:
    if last.alerted_at is None or item.level > last.level:
        return True
    return last.as_of < item.score.as_of and last.alerted_at <= now - _QUIET


def _build_alert(context: Context, account_id: str, crossings: Sequence[_Crossing], now: datetime) -> NewAlert:
    lines = [_describe(item) for item in crossings[:_NAMED]]
    more = len(crossings) - len(lines)
    lines += [f"and {format_count(more, 'more ad')}"] if more else []
    worst = crossings[0].score
    return NewAlert(
        at=now,
        kind=AD_FATIGUE,
        scope=f"account:{account_id}",
        errors=len(crossings),
        example=f"ad {worst.ad_id}",
        reason="; ".join(lines),
        next_step=f"{recommend(worst, context.settings.fatigue).action} `adwarm fatigue {account_id}` shows all ads.",
    )


def _describe(item: _Crossing) -> str:
    score, before = item.score, item.before
    name = " ".join(score.ad_name.split()) or score.ad_id
    name = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
    news = [] if score.alarm != "alarm" or before.alarm == "alarm" else ["new alarm"]
    news.append(f"{before.status} → {score.status}" if before.status != score.status else score.status)
    news += filter(None, [describe_loss(score)])
    return f"{name} ({score.ad_id}): {', '.join(news)}"
