"""The page of one ad: what to do, its daily figures, its score over time, and the platform's own view."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest

from adwarm.model import Window
from adwarm.store import partitions, write_transaction
from adwarm.store.partition_rows import pack_rows
from adwarm.store.partitions import PartitionState
from tests.unit.conftest import SQLITE_ONLY
from tests.unit.pages.conftest import START, Page
from tests.unit.pages.test_fatigue_tab import DAY, HOSTILE, _score, _store


def _store_days(page: Page, rates: Sequence[float | None], ad_id: str = "1") -> None:
    """Store days up to `DAY` with 1,000 impressions of an ad each; None for a day without delivery."""
    states = []
    for number, rate in enumerate(rates):
        day = DAY - timedelta(days=len(rates) - 1 - number)
        row = {"date_start": day.isoformat(), "account_id": "act_1", "ad_id": ad_id, "impressions": "1000"}
        other = {**row, "ad_id": "other", "clicks": "1", "spend": "1"}
        own = [] if rate is None else [{**row, "clicks": f"{1000 * rate:.0f}", "spend": "8.50"}]
        digest = page.runtime.objects.put(pack_rows([other, *own]))
        states.append(PartitionState(day, digest, 2, digest, START, True, False, 1, "v26.0"))
    spec = page.runtime.settings.spec("default").hash
    with write_transaction(page.runtime.engine) as connection:
        partitions.publish(connection, "act_1", spec, states, 1)


def _tile(page: Page, name: str, **query: str) -> str:
    return page.tile("ad", name, **{"account": "1", "ad": "1", **query})


@SQLITE_ONLY
def test_an_ad_without_scores_is_explained(page: Page) -> None:
    """An unknown ad and a page without an ad say so, in each tile."""
    assert "no score of the ad 1 of act_1" in _tile(page, "score")
    assert "No day with delivery" in _tile(page, "daily")
    assert "No scores are stored" in _tile(page, "history")
    assert "no ad is chosen" in page.tile("ad", "score")


def test_the_action_comes_first_with_its_figures(page: Page) -> None:
    """Action, alarm, figures beside good weeks, weights, and how far to trust it."""
    values: dict[str, Any] = {"alarm": "alarm", "alarm_since": DAY - timedelta(days=2), "driver": "creative"}
    _store(page, [_score("1", 70.0, **values), _score("1", 60.0, DAY - timedelta(days=1))], settled=True)
    html = _tile(page, "score")
    texts = ("Replace the creative", "since 2026-03-01", "+10.0 since the day before", "1.00%", "2.00%", "40%")
    for text in (*texts, "35%", "25%", "Final, ", "canonical-6", "in America/New_York", "17 such alarms held"):
        assert text in html, text
    assert html.index("Replace the creative") < html.index("Components of the score")


@SQLITE_ONLY
def test_the_rule_of_the_platform_stands_beside_the_score(page: Page, subtests: pytest.Subtests) -> None:
    """Meta calls a creative limited above its past cost per result, fatigued from twice on; nothing without results."""
    for ratio, words in ((None, ""), (1.0, "not limited"), (1.4, "creative limited"), (2.0, "creative fatigue")):
        with subtests.test(ratio=ratio):
            _store(page, [_score("1", 50.0, cost_ratio=ratio)])
            html = _tile(page, "score")
            assert ("by the rule of Meta" in html) is (ratio is not None)
            assert ratio is None or (words in html and f"cost per result {ratio:.2f} times its past" in html)


def test_daily_figures_are_drawn_with_the_start_of_the_decline(page: Page) -> None:
    """Each stored day from the first delivery on: rates, a gap without delivery, onset, alarm and good weeks."""
    onset, since = DAY - timedelta(days=4), DAY - timedelta(days=1)
    _store(page, [_score("1", 70.0, alarm="alarm", onset=onset, alarm_since=since)])
    _store_days(page, [None, 0.02, 0.02, 0.02, None, 0.012, 0.01, 0.01])
    html = _tile(page, "daily")
    for text in ("decline began about Feb 27", "alarm Mar 2", "good weeks, %", "2.00%", "1.20%", "8.50"):
        assert text in html, text
    assert html.count('<th scope="row">') == 7
    assert html.count('r="2.5"') == 6
    assert "2026-02-24" not in html


@SQLITE_ONLY
def test_days_that_are_not_stored_are_named(page: Page) -> None:
    """A day between stored ones that is missing is not a day without delivery."""
    _store(page, [_score("1", 70.0)])
    _store_days(page, [0.02, 0.02])
    with write_transaction(page.runtime.engine) as connection:
        spec = page.runtime.settings.spec("default").hash
        old = page.runtime.objects.put(
            pack_rows([{"date_start": "2026-02-27", "account_id": "act_1", "ad_id": "1", "impressions": "1000"}])
        )
        state = PartitionState(date(2026, 2, 27), old, 1, old, START, True, False, 1, "v26.0")
        partitions.publish(connection, "act_1", spec, [state], 1)
    html = _tile(page, "daily")
    assert html.count("not stored") == 2
    assert html.count('<th scope="row">') == 5


@SQLITE_ONLY
def test_damaged_days_say_what_to_do(page: Page) -> None:
    """A lost object is named with the command that mends it; the other tiles still show."""
    _store(page, [_score("1", 70.0)])
    _store_days(page, [0.02])
    spec = page.runtime.settings.spec("default").hash
    (state,) = partitions.list_states(page.runtime.engine, "act_1", spec, Window(DAY, DAY)).values()
    page.runtime.objects.delete(state.object_hash)
    assert "adwarm maintain --verify --repair" in _tile(page, "daily")
    assert "ad 1" in _tile(page, "score")


def test_the_history_has_both_limits_and_its_gaps(page: Page) -> None:
    """A chart with both limits, and the same as a table; a missing day is a gap."""
    days = [DAY - timedelta(days=back) for back in (4, 3, 1, 0)]
    _store(page, [_score("1", 30.0 + 10 * number, day) for number, day in enumerate(days)], settled=True)
    history = _tile(page, "history")
    assert "warning from 15%" in history
    assert "critical from 35%" in history
    assert history.count('<polyline points="') == 2 + 1 + 1 + 2 + 2 + 2  # a gap splits the lines
    assert history.count('<th scope="row">') == 4


@SQLITE_ONLY
def test_hostile_ids_and_names_are_text(page: Page) -> None:
    """Markup in the id and the name of an ad is shown as it is written."""
    _store(page, [_score('9"><img src=x>', 70.0, ad_name=HOSTILE)])
    html = _tile(page, "score", ad='9"><img src=x>')
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html


@SQLITE_ONLY
def test_a_pending_ad_says_what_it_needs(page: Page) -> None:
    """A pending ad has no number, and says how many days it lacks."""
    _store(page, [_score("1", None, baseline={"age_days": 4, "impressions": 900.0, "flags": []})])
    assert "Needs 3 more days" in _tile(page, "score")
