"""Alerts on creatives that got worse: one message for all accounts of a scoring run. An ad may stand for itself.

| one is in it when                                                                                              |
|----------------------------------------------------------------------------------------------------------------|
| it has a new alarm, or its status is worse than on its last scored day and at least that of `fatigue.alert_at` |
| its score is of the newest scored day of the account, and that day ended less than four days ago               |
| it had a score before: a new one and one that was pending are not news                                         |
| it was in none for the same day, nor within 24 hours for the same or a worse level                             |

So backfills and creatives that stay fatigued make no message. It names those that lose most, by spend times loss, and
counts the others. A creative that got worse is not a failure: the alert is over when it is raised.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from adwarm.fatigue.recommendation import describe_loss, identify, recommend
from adwarm.foundation.wording import format_count
from adwarm.model import FatigueScore, FatigueStatus
from adwarm.recovery import RecoveryPipeline
from adwarm.recovery.messages import AD_FATIGUE
from adwarm.store import Context, fatigue_days
from adwarm.store.alerts import NewAlert, list_alerted_ads
from adwarm.store.scores import EarlierScore, StoredScore, find_earlier, find_newest_days, list_parts, list_worst

AdsOfCreatives = Mapping[tuple[str, str], Sequence[StoredScore]]
_LEVELS: Final = {"healthy": 0, "pending": 0, "warning": 1, "critical": 2, "alarm": 3}
_BANDS: Final[tuple[FatigueStatus, ...]] = ("warning", "critical")
_QUIET: Final = timedelta(hours=24)
_NEWS_DAYS: Final = 4
_LOOK_BACK: Final = timedelta(days=7)
_ACCOUNTS_PER_QUERY: Final = 200
_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class _Crossing:
    score: FatigueScore
    level: int
    before: EarlierScore


def alert_on_crossings(
    context: Context, published: Collection[tuple[str, date]], now: datetime, pipeline: RecoveryPipeline
) -> int:
    """Raise one alert about the ads of all accounts that got worse, and return how many ads it is about.

    Args:
        published: accounts and as-of days whose scores a run has stored, or found stored.
    """
    crossings = sorted(_iter_crossings(context, published, now), key=lambda item: item.score.rank)
    parts = list_parts(context.engine, [item.score for item in crossings])
    fresh: list[_Crossing] = []

    def build(connection: Connection) -> NewAlert | None:
        # Runs that look at the same scores at the same time wait for each other.
        fatigue_days.lock(connection, {(item.score.account_id, item.score.as_of) for item in crossings}, now)
        fresh[:] = _select_fresh(crossings, connection, now)
        return _build_alert(context, fresh, parts, now) if fresh else None

    if crossings:
        pipeline.alert_about(build)
    return len(fresh)


def _iter_crossings(context: Context, published: Iterable[tuple[str, date]], now: datetime) -> Iterator[_Crossing]:
    """Yield the ads whose level rose with the newest scores of their account, where these are recent."""
    level = context.settings.fatigue.alert_at
    recent = now.date() - timedelta(days=_NEWS_DAYS)
    days = {(account_id, day) for account_id, day in published if day >= recent and level != "off"}
    ids = sorted({account_id for account_id, _ in days})
    for start in range(0, len(ids), _ACCOUNTS_PER_QUERY):
        newest = find_newest_days(context.engine, ids[start : start + _ACCOUNTS_PER_QUERY])
        for account_id, day in sorted(newest.items() & days):
            bands = [band for band in _BANDS if _LEVELS[band] >= _LEVELS[level]]
            yield from _find_crossings(context, list_worst(context.engine, account_id, day, bands), _LEVELS[level])


def _levels(score: FatigueScore | EarlierScore) -> tuple[int, int]:
    """Return the level of a status, and that of the status or the alarm."""
    status = _LEVELS[score.status]
    return status, _LEVELS["alarm"] if score.alarm == "alarm" else status


def _find_crossings(context: Context, scores: Sequence[FatigueScore], least: int) -> Iterator[_Crossing]:
    """Yield the ads of an account whose level rose since their last scored day."""
    if not scores:
        return
    account_id, day = scores[0].account_id, scores[0].as_of
    ads = {account_id: [score.ad_id for score in scores]}
    before = find_earlier(context.engine, ads, day - _LOOK_BACK, day)
    for score in scores:
        earlier = before.get((account_id, score.ad_id))
        if earlier is None or earlier.status == "pending":
            continue
        # A status that got worse under an alarm that was there before is not news at the level `alarm`.
        pairs = zip(_levels(score), _levels(earlier), strict=True)
        risen = [now for now, then in pairs if now > then and now >= least]
        if risen:
            yield _Crossing(score, max(risen), earlier)


def _select_fresh(crossings: Sequence[_Crossing], connection: Connection, now: datetime) -> list[_Crossing]:
    """Return those that no alert was about for the same day, nor within 24 hours for the same or a worse level."""
    last: dict[tuple[str, str], tuple[datetime, str, int]] = {}
    for at, accounts in list_alerted_ads(connection, AD_FATIGUE, now - _LOOK_BACK):
        for account_id, ads in accounts.items():
            last |= {(account_id, ad_id): (at, as_of, level) for ad_id, (as_of, level) in ads.items()}

    def is_fresh(item: _Crossing) -> bool:
        at, as_of, level = last.get((item.score.account_id, item.score.ad_id), (None, "", 0))
        if at is None or item.level > level:
            return True
        return as_of < item.score.as_of.isoformat() and at <= now - _QUIET

    return [item for item in crossings if is_fresh(item)]


def _build_alert(context: Context, crossings: Sequence[_Crossing], parts: AdsOfCreatives, now: datetime) -> NewAlert:
    lines = [_describe(item, parts.get((item.score.account_id, item.score.ad_id), ())) for item in crossings[:_NAMED]]
    more = len(crossings) - len(lines)
    lines += [f"and {format_count(more, 'more creative')}"] if more else []
    worst = crossings[0].score
    ads: dict[str, dict[str, tuple[str, int]]] = {}
    for item in crossings:
        of_account = ads.setdefault(item.score.account_id, {})
        of_account[item.score.ad_id] = item.score.as_of.isoformat(), item.level
    action = recommend(worst, context.settings.fatigue).action
    return NewAlert(
        at=now,
        kind=AD_FATIGUE,
        scope=f"account:{worst.account_id}" if len(ads) == 1 else format_count(len(ads), "account"),
        errors=len(crossings),
        example=worst.ad_id if worst.is_creative else f"ad {worst.ad_id}",
        reason="; ".join(lines),
        next_step=f"{action} `adwarm fatigue {worst.account_id}` shows all creatives of that account.",
        is_over=True,
        ads=ads,
    )


def _describe(item: _Crossing, parts: Sequence[StoredScore]) -> str:
    score, before = item.score, item.before
    news = [] if score.alarm != "alarm" or before.alarm == "alarm" else ["new alarm"]
    news.append(f"{before.status} → {score.status}" if before.status != score.status else score.status)
    news += filter(None, [describe_loss(score)])
    return f"{identify(score, parts)}: {', '.join(news)}"
