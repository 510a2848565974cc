"""Alerts name ads that got worse: once, in one message a run, and only for news."""

import random
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine

from adwarm.fatigue.account_scores import score_accounts
from adwarm.fatigue.crossings import alert_on_crossings
from adwarm.foundation.clock import VirtualClock
from adwarm.model import AlarmLevel, FatigueScore, FatigueStatus
from adwarm.recovery import RecoveryPipeline, StoredAlerts
from adwarm.recovery.alert_delivery import NoticeSender
from adwarm.recovery.messages import build_message
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, alerts
from adwarm.store.error_events import ErrorLog
from tests.support import fatigue_scores
from tests.support.memory_recovery import memory_options
from tests.unit.conftest import SQLITE_ONLY

from .stored_ads import store_days

DAY = date(2026, 11, 24)
NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
TOTALS: dict[str, float | None] = {"healthy": 10.0, "warning": 45.0, "critical": 80.0, "pending": None}


def make_score(
    ad_id: str,
    status: FatigueStatus,
    alarm: AlarmLevel = "none",
    day: date = DAY,
    account: str = "act_1",
    spend: float | None = None,
) -> FatigueScore:
    """Return a score of an ad with a status and an alarm."""
    total = TOTALS[status]
    return fatigue_scores.make_score(
        account_id=account,
        ad_id=ad_id,
        as_of=day,
        status=status,
        total=total,
        loss=None if total is None else total / 200,
        creative=total,
        alarm=alarm,
        recent_spend=spend,
    )


class Alerting:
    """Publishes scores and alerts as a scoring run does."""

    def __init__(self, engine: Engine, objects: ObjectStore, level: str = "critical") -> None:
        settings = Settings(fatigue={"alert_at": level})
        self.engine, self.clock = engine, VirtualClock(NOW)
        self.context = Context(engine, objects, settings)
        log = ErrorLog(engine)
        stored = StoredAlerts(engine, settings.alerts, log, NoticeSender(engine, settings.alerts), self.clock)
        options = memory_options(self.clock, alerts=stored)
        self.pipeline = RecoveryPipeline(settings.recovery, log, self.clock, random.Random(1), **options)
        self.version = 0

    def run(self, *published: FatigueScore, at: datetime = NOW) -> int:
        """Store scores and alert on them; return how many ads were named."""
        self.version += 1
        fatigue_scores.publish(self.engine, published, self.version, False, at)
        days = {(score.account_id, score.as_of) for score in published}
        return alert_on_crossings(self.context, days, at, self.pipeline)

    def texts(self) -> list[str]:
        """Return the text of each alert, the oldest first."""
        return [build_message(item, "opened").text for item in alerts.list_alerts(self.engine)][::-1]


def _yesterday(*published: FatigueScore) -> list[FatigueScore]:
    return [replace(score, as_of=DAY - timedelta(days=1)) for score in published]


def test_ads_of_an_account_that_got_worse_make_one_message(engine: Engine, objects: ObjectStore) -> None:
    """A new alarm and a status that became critical are named, most loss first; better and steady ads are not."""
    alerting = Alerting(engine, objects)
    alerting.run(
        *_yesterday(
            make_score("1", "warning"), make_score("2", "healthy"), make_score("3", "critical"),
            make_score("4", "critical"), make_score("5", "healthy"),
        )
    )  # fmt: skip

    named = alerting.run(
        make_score("1", "critical"), make_score("2", "healthy", "alarm"), make_score("3", "critical"),
        make_score("4", "warning"), make_score("5", "warning"),
    )  # fmt: skip

    (text,) = alerting.texts()
    assert named == 2
    assert "warning → critical, gives 40% fewer clicks than in its good weeks; ad 2 (2 of act_1): new alarm" in text
    assert "new alarm, healthy, gives 5% fewer clicks" in text
    assert "adwarm fatigue act_1 --changes" in text
    assert not {"ad 3", "ad 4", "ad 5"} & {text[n : n + 4] for n in range(len(text))}
    assert build_message(alerts.list_alerts(engine)[0], "opened").title == "adwarm: 2 creatives of act_1 got worse"


def test_a_creative_is_named_once_for_its_ads(engine: Engine, objects: ObjectStore) -> None:
    """A creative stands for the ads that share it, whose number it names."""
    alerting = Alerting(engine, objects)
    parts = [replace(make_score(ad, "critical"), part_of="creative-9") for ad in "12"]
    alerting.run(*_yesterday(make_score("creative-9", "healthy"), *(replace(ad, status="healthy") for ad in parts)))
    assert alerting.run(make_score("creative-9", "critical"), *parts) == 1
    assert "ad creative-9 (creative-9 of act_1, 2 ads): healthy → critical" in alerting.texts()[0]


def test_a_run_sends_one_message(engine: Engine, objects: ObjectStore) -> None:
    """A run over 55 accounts names the ten ads with the largest spend times loss, and counts the others."""
    alerting = Alerting(engine, objects)
    ads = [
        make_score(str(number), "critical", account=f"act_{number % 55}", spend=1.0 + number * 7 % 110)
        for number in range(110)
    ]
    ads.append(make_score("small loss", "healthy", "alarm", account="act_2", spend=200.0))
    alerting.run(*_yesterday(*(replace(score, status="healthy", alarm="none", loss=0.02) for score in ads)))

    assert alerting.run(*ads) == 111
    [text] = alerting.texts()
    costly = sorted(ads[:110], key=lambda score: -(score.recent_spend or 0.0))[:10]
    assert re.findall(r"\((\w+) of act_\d+\)", text) == [score.ad_id for score in costly]
    assert "and 101 more creatives" in text
    assert len(text) < 1_500
    [stored] = alerts.list_alerts(engine)
    assert build_message(stored, "opened").title == "adwarm: 111 creatives of 55 accounts got worse"
    assert alerts.count_open(engine) == 0
    assert alerting.run(*ads, at=NOW + timedelta(hours=1)) == 0
    assert len(alerting.texts()) == 1


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("level", "named"),
    [("off", set()), ("warning", {"1", "2", "3"}), ("critical", {"2", "3"}), ("alarm", {"3"})],
)
def test_the_setting_chooses_the_least_level(engine: Engine, objects: ObjectStore, level: str, named: set[str]) -> None:
    """`alert_at` names ads from a status on; alarms are always named unless it is off."""
    alerting = Alerting(engine, objects, level)
    today = [make_score("1", "warning"), make_score("2", "critical"), make_score("3", "healthy", "alarm")]
    alerting.run(*_yesterday(*(make_score(score.ad_id, "healthy") for score in today)))

    assert alerting.run(*today) == len(named)
    assert {number for number in "123" for text in alerting.texts() if f"({number} of " in text} == named


@SQLITE_ONLY
def test_new_and_pending_ads_are_no_news(engine: Engine, objects: ObjectStore) -> None:
    """An ad without an earlier score, and one that was pending, are not named however bad they are."""
    alerting = Alerting(engine, objects)
    alerting.run(*_yesterday(make_score("1", "pending")))

    assert alerting.run(make_score("1", "critical", "alarm"), make_score("2", "critical", "alarm")) == 0
    assert alerting.texts() == []


def test_an_ad_is_named_once(engine: Engine, objects: ObjectStore) -> None:
    """Not again for the same day, nor within 24 hours for the same level; a worse level is named at once."""
    alerting = Alerting(engine, objects)
    alerting.run(*_yesterday(make_score("1", "healthy")))
    worse, alarmed = make_score("1", "critical"), make_score("1", "critical", "alarm")

    assert alerting.run(worse) == 1
    assert alerting.run(worse, at=NOW + timedelta(hours=1)) == 0
    assert alerting.run(worse, at=NOW + timedelta(hours=30)) == 0
    assert alerting.run(alarmed, at=NOW + timedelta(hours=31)) == 1
    later, again = (replace(alarmed, as_of=DAY + timedelta(days=n)) for n in (1, 2))
    assert alerting.run(replace(later, alarm="none", status="healthy"), at=NOW + timedelta(hours=32)) == 0
    assert alerting.run(again, at=NOW + timedelta(hours=33)) == 0
    assert alerting.run(again, at=NOW + timedelta(hours=60)) == 1


@SQLITE_ONLY
def test_a_second_run_with_other_ads_has_its_own_notice(engine: Engine, objects: ObjectStore) -> None:
    """Other ads that get worse on the same day make the next message, which leaves out those of the first."""
    alerting = Alerting(engine, objects)
    alerting.run(*_yesterday(make_score("1", "healthy"), make_score("2", "healthy")))
    alerting.run(make_score("1", "critical"), make_score("2", "healthy"))
    alerting.run(make_score("1", "critical"), make_score("2", "critical"), at=NOW + timedelta(minutes=1))

    assert [("(1 of" in text, "(2 of" in text) for text in alerting.texts()] == [(True, False), (False, True)]


@SQLITE_ONLY
def test_the_past_is_no_news(engine: Engine, objects: ObjectStore) -> None:
    """Scores of a day before the newest one, and of days that ended long ago, name nobody."""
    alerting = Alerting(engine, objects)
    alerting.run(*_yesterday(make_score("1", "healthy")))
    alerting.run(make_score("1", "healthy", day=DAY + timedelta(days=1)), at=NOW + timedelta(days=1))

    assert alerting.run(make_score("1", "critical")) == 0
    assert alerting.run(make_score("2", "critical", account="act_2", day=DAY - timedelta(days=90))) == 0


@SQLITE_ONLY
def test_without_alerts_nothing_is_remembered(engine: Engine, objects: ObjectStore) -> None:
    """An alert that cannot be stored is not noted as sent: the next run raises it."""
    alerting = Alerting(engine, objects)
    alerting.run(*_yesterday(make_score("1", "healthy")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts, "_insert", lambda *_: (_ for _ in ()).throw(RuntimeError("the disk is full")))
        alerting.run(make_score("1", "critical"))
    assert alerting.texts() == []

    assert alerting.run(make_score("1", "critical")) == 1
    assert len(alerting.texts()) == 1


def test_a_scoring_run_alerts(engine: Engine, objects: ObjectStore) -> None:
    """A run with a pipeline hands the days that it stored to the alerts; one without a pipeline alerts nobody."""
    alerting = Alerting(engine, objects)
    days = [DAY - timedelta(days=back) for back in range(29, -1, -1)]
    row = {"ad_id": "1", "ad_name": "worn out", "impressions": "40000", "spend": "100"}
    clicks = {day: "20" if day > DAY - timedelta(days=4) else "1000" for day in days}
    store_days(alerting.context, {day: [{**row, "clicks": clicks[day]}] for day in days})
    score_accounts(alerting.context, [("act_1", DAY - timedelta(days=4))], NOW)
    assert alerting.texts() == []

    score_accounts(alerting.context, [("act_1", DAY)], NOW, alerting.pipeline)

    (text,) = alerting.texts()
    assert "worn out (1 of act_1): " in text
