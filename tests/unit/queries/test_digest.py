"""The weekly digest: what it says, and that a week has one."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.gate import Gate, OpenedBy, Rule
from adwarm.model import AccessToken, Account, CallCause, CauseKind, TokenScope
from adwarm.queries.digest import build_digest, send_digest
from adwarm.recovery import StoredAlerts
from adwarm.recovery.alert_delivery import NoticeSender
from adwarm.recovery.channels import AppriseSender
from adwarm.recovery.messages import build_message
from adwarm.settings import Settings
from adwarm.settings.recovery_sections import AppriseChannel
from adwarm.store import (
    Context,
    ObjectStore,
    access_tokens,
    accounts,
    alerts,
    gates,
    read_traffic,
    warms,
    write_transaction,
)
from adwarm.store.error_events import ErrorLog
from adwarm.store.gates import to_row
from tests.support import fatigue_scores
from tests.support.alert_sink import run_sink

NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)
"""A Monday."""
DAY = timedelta(days=1)


@pytest.fixture
def context(engine: Engine, objects: ObjectStore, tmp_path: Path) -> Context:
    """An empty installation whose budget is 100 calls an hour."""
    return Context(engine, objects, Settings(home=tmp_path, planning={"max_calls_per_hour": 100}))


def _fill(context: Context) -> None:
    """Store a week with opens, calls, warms, a dead token of the platform, a token that expires, and critical ads."""
    engine = context.engine
    read_traffic.increment(engine, NOW - DAY, "act_1", "human", first_opens=10, first_hits=9)
    read_traffic.increment(engine, NOW - 8 * DAY, "act_1", "human", first_opens=4, first_hits=2)
    read_traffic.count_calls(
        engine, NOW - DAY, "act_1", CallCause(CauseKind.FORECAST), calls=500, throttles=3, postponed=20
    )
    fetched = NOW - 2 * DAY
    warm: dict[str, Any] = {
        "run_id": "dag/run", "account_id": "act_1", "date_range": "last_7d", "reason": "predicted_open",
        "mode": "live", "status": "fetched", "decided_at": fetched, "warm_at": fetched, "fetched_at": fetched,
        "expires_at": fetched + DAY, "requests": 84, "seconds": 6.0,
    }  # fmt: skip
    gate = Gate("connection:main", Rule.ISOLATION, 0.0, NOW.timestamp() + 60, "the token is dead", OpenedBy.CREDENTIAL)
    with write_transaction(engine) as connection:
        connection.execute(warms.table.insert(), [{**warm, "used": used} for used in (True, True, True, False)])
        connection.execute(
            gates.table.insert(), [to_row(gate), to_row(replace(gate, scope="fleet", opened_by=OpenedBy.TIME))]
        )
        denied = [replace(gate, scope=f"account:act_{number}", rule=Rule.DENIAL) for number in (7, 8)]
        connection.execute(gates.table.insert(), [to_row(item) for item in denied])
    token = AccessToken(
        id="t1", name="dashboard", scopes=frozenset({TokenScope.READ}), created_at=NOW, expires_at=NOW + 9 * DAY
    )
    access_tokens.insert_token(engine, token, "0" * 64)
    access_tokens.insert_token(engine, replace(token, id="t2", name="other", expires_at=NOW + 90 * DAY), "1" * 64)
    accounts.save(engine, [Account("act_1", "UTC", "UTC", "EUR", name="")], NOW)
    ads = [
        fatigue_scores.make_score(f"{n}", (NOW - DAY).date(), status="critical", total=80.0, loss=0.38, recent_spend=n)
        for n in range(1, 8)
    ]
    healthy = fatigue_scores.make_score("9", (NOW - DAY).date(), total=5.0, loss=0.01)
    fatigue_scores.publish(engine, [*ads, healthy], 1, True, NOW)


def test_an_empty_week_says_so(context: Context) -> None:
    """Without data each part says that there is nothing; where no ad has a score, ads are not mentioned."""
    title, text = build_digest(context, NOW)
    assert title == "adwarm: no opens, 0 things to do"
    assert text.splitlines() == [
        "How warm:", "- nobody opened a report through adwarm",
        "What it cost:", "- 0 calls to the platform; warms took 0.0% of what their budget allows",
        "What needs a person:", "- nothing",
    ]  # fmt: skip


def test_a_week_in_one_message(context: Context) -> None:
    """Warmth with its trend, the share of the budget, what only a person can mend, and the ads by spend."""
    _fill(context)
    title, text = build_digest(context, NOW)
    assert title == "adwarm: 90% of opens fresh, 3 things to do, 7 creatives need action"
    saved = "about 6.0 s of waiting saved (90% range: 6.0 s to 6.0 s), for 248 more calls to the platform"
    own = "20 fetches put off by adwarm's own limits"
    loss = "gives 38% fewer clicks than in its good weeks: Replace the creative"
    assert text.splitlines() == [
        "How warm:",
        "- 90% of 10 first opens found a fresh report (50% in the week before); 75% of 4 warms were opened while fresh",
        f"- Last 7 days, until 2026-11-30 03:00 UTC: 10 first opens, 9 did not wait; {saved}.",
        "What it cost:",
        f"- 500 calls to the platform, 3 of them throttled by it; {own}; warms took 3.0% of what their budget allows",
        "What needs a person:",
        "- connection:main is closed: the token is dead; it needs another token",
        "- denied by the platform: act_7, act_8",
        "- the token dashboard expires on 2026-12-09; make a new one",
        "Creatives that need action:",
        *(f"- ad {n} ({n} of act_1) {loss}" for n in (7, 6, 5, 4, 3)),
        "- and 2 more: the tab Fatigue",
    ]


def test_a_week_has_one_message(context: Context) -> None:
    """However often a week sends, each channel gets one plain message, for which no alert is open."""
    with run_sink() as sink:
        settings = context.settings.alerts.model_copy(update={"channels": (AppriseChannel(name="chat", url=sink.url),)})
        sender = NoticeSender(context.engine, settings, [AppriseSender(settings.channels[0])])
        to = StoredAlerts(context.engine, settings, ErrorLog(context.engine), sender, VirtualClock(NOW))
        sent = []
        for late in (0, 0, 2, 6.8, 7):  # what waits for a slow channel is sent together
            sent.append(send_digest(context, to, NOW + late * DAY))
            to.deliver()
            assert sender.wait(30)
    assert sent == [True, False, False, False, True]
    assert [body["title"] for body in sink.received] == ["adwarm: no opens, 0 things to do"] * 2
    assert {body["type"] for body in sink.received} == {"success"}
    assert sink.received[0]["message"] == build_digest(context, NOW)[1]
    assert alerts.count_open(context.engine) == 0
    assert not build_message(alerts.list_alerts(context.engine)[0], alerts.OPENED).is_failure
