"""`adwarm fatigue`: the newest scores."""

from datetime import timedelta

from adwarm.fatigue.account_scores import score_accounts
from adwarm.foundation.clock import SystemClock
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.store import scores

from .conftest import Adwarm

ACCOUNTS = ("act_1", "act_2", "act_3")


def test_fatigue_shows_the_newest_scores(adwarm: Adwarm) -> None:
    """Scores of an account as a table and as JSON; `--as-of` leaves out later ones."""
    runtime, now = Runtime(), SystemClock().now()
    day = now.date() - timedelta(days=2)
    keys = [ReportKey(name, f"{day - timedelta(days=6)}..{day}") for name in ACCOUNTS]
    runtime.prefetch_engine().run([KeyRequest(key, close_day=day) for key in keys], Priority.LOW)
    score_accounts(runtime.context, [(name, day) for name in ACCOUNTS], now)
    scored = next(name for name in ACCOUNTS if scores.list_latest(runtime.engine, name))
    rows = adwarm("fatigue", scored.removeprefix("act_"), "--json").json
    assert {row["account_id"] for row in rows} == {scored}
    assert f"{scored} on {day}" in adwarm("fatigue", scored).stdout
    assert adwarm("fatigue", scored, "--as-of", str(day - timedelta(days=1))).exit_code == 1
