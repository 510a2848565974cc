"""Ads that share a creative are scored together, from the sums of their days, with the scores of each ad beneath."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.fatigue.account_scores import score_accounts
from adwarm.fatigue.ad_days import list_ad_days
from adwarm.fatigue.by_creative import add_frequencies
from adwarm.fatigue.panel_rows import parse_rows
from adwarm.model import ColumnTable, Window
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, creatives, scores
from adwarm.store.creatives import AdCreative
from adwarm.store.database import open_engine
from adwarm.store.schema import upgrade
from adwarm.store.scores import StoredScore
from tests.support import fatigue_scores
from tests.unit.fatigue.stored_ads import ACCOUNT, LAST_DAY, NOW, store_days

DAYS = 45
Row = dict[str, Any]


def _make_rows(ads: Sequence[str] = ("1", "2", "3")) -> list[list[Row]]:
    """Return the rows of some days, oldest first; the first ad wears out, and gets another audience in between."""
    draw = np.random.default_rng(5)
    days = []
    for number in range(DAYS):
        shown = draw.integers(4_000, 9_000, len(ads))
        rate = np.where([ad == "1" and number > 30 for ad in ads], 0.006, 0.015)
        clicks = draw.binomial(shown, rate)
        days.append([
            {
                "ad_id": ad, "ad_name": f"ad {ad}", "adset_id": "8" if number > 5 else "7", "impressions": str(seen),
                "clicks": str(clicked), "spend": str(seen // 100),
            }
            for ad, seen, clicked in zip(ads, shown.tolist(), clicks.tolist(), strict=True)
        ])  # fmt: skip
    return days


def _score(
    context: Context, days: Sequence[Sequence[Mapping[str, Any]]], shown: Mapping[str, str]
) -> dict[str, StoredScore]:
    """Store rows and creatives, score the last day, and return all scores by their key."""
    store_days(context, {LAST_DAY - timedelta(days=len(days) - 1 - number): rows for number, rows in enumerate(days)})
    items = [AdCreative(ad, creative, f"title {creative}") for ad, creative in shown.items()]
    creatives.save(context.engine, ACCOUNT, items, NOW)
    assert not score_accounts(context, [(ACCOUNT, LAST_DAY)], NOW).errors
    listed = scores.list_day(context.engine, ACCOUNT, LAST_DAY)
    parts = scores.list_parts(context.engine, [item.score for item in listed])
    return {item.score.ad_id: item for item in [*listed, *(item for items in parts.values() for item in items)]}


def _score_anew(days: Sequence[Sequence[Mapping[str, Any]]], shown: Mapping[str, str]) -> dict[str, StoredScore]:
    """Return the scores of a new store."""
    with TemporaryDirectory() as folder:
        engine = open_engine("sqlite://")
        upgrade(engine)
        try:
            return _score(Context(engine, ObjectStore(folder), Settings(home=Path(folder))), days, shown)
        finally:
            engine.dispose()


def _figures(item: StoredScore) -> dict[str, Any]:
    return {name: value for name, value in item.to_dict().items() if name not in ("ad_id", "ad_name", "input_hash")}


@pytest.fixture(scope="module")
def plain() -> dict[str, StoredScore]:
    """The scores of three ads of which no creative is known."""
    return _score_anew(_make_rows(), {})


def test_ads_with_creatives_of_their_own_stand_for_themselves(plain: dict[str, StoredScore]) -> None:
    """Where no two ads share a creative, nothing differs from scores without any creative: not even what is hashed."""
    assert _score_anew(_make_rows(), {"1": "a", "2": "b", "3": "c"}) == plain
    assert plain["1"].score.alarm == "alarm"


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.3, 0.5, 1.0]), min_size=DAYS, max_size=DAYS))
def test_an_ad_split_in_two_of_one_creative_keeps_its_figures(
    plain: dict[str, StoredScore], shares: list[float]
) -> None:
    """However the days of an ad are split over two ads, its creative has its figures, and others keep theirs."""
    days = []
    for rows, share in zip(_make_rows(), shares, strict=True):
        first, *others = rows
        halves: list[Row] = [{**first, "ad_id": "1a"}, {**first, "ad_id": "1b"}]
        for name in ("impressions", "clicks", "spend"):
            halves[0][name] = str(int(int(first[name]) * share))
            halves[1][name] = str(int(first[name]) - int(halves[0][name]))
        days.append([half for half, part in zip(halves, (share, 1 - share), strict=True) if part] + others)
    found = _score_anew(days, {"1a": "9", "1b": "9", "2": "8"})
    assert _figures(found["creative-9"]) == _figures(plain["1"])
    for ad_id in ("2", "3"):
        assert _figures(found[ad_id]) == _figures(plain[ad_id])
    assert {item.score.part_of for key, item in found.items() if key in ("1a", "1b")} <= {"creative-9"}


def test_a_creative_has_its_ads_beneath(engine: Engine, objects: ObjectStore) -> None:
    """Spend adds up, its name is the title, the ads keep scores of their own, and daily figures are the sums."""
    context = Context(engine, objects, Settings())
    found = _score(context, _make_rows(), {"1": "9", "3": "9"})
    listed = scores.list_day(engine, ACCOUNT, LAST_DAY)
    assert sorted(item.score.ad_id for item in listed) == ["2", "creative-9"]
    creative, parts = found["creative-9"].score, [found["1"].score, found["3"].score]
    assert (creative.ad_name, creative.part_of) == ("title 9", "")
    assert [score.part_of for score in parts] == ["creative-9", "creative-9"]
    assert creative.recent_spend == sum(score.recent_spend or 0.0 for score in parts)
    assert [score.ad_name for score in parts] == ["ad 1", "ad 3"]
    window = Window(LAST_DAY, LAST_DAY)
    (day,), (first,), (third,) = (list_ad_days(context, ACCOUNT, key, window) for key in ("creative-9", "1", "3"))
    assert day.clicks == (first.clicks or 0.0) + (third.clicks or 0.0)


def test_creatives_that_become_known_count_from_the_next_scores_on(engine: Engine, objects: ObjectStore) -> None:
    """A day that is asked for is scored again when ads turn out to share a creative; without news it is not."""
    context = Context(engine, objects, Settings())
    assert sorted(_score(context, _make_rows(), {})) == ["1", "2", "3"]
    creatives.save(engine, ACCOUNT, [AdCreative("2", "9"), AdCreative("3", "9")], NOW)
    assert score_accounts(context, [(ACCOUNT, LAST_DAY)], NOW).creatives == 2
    assert score_accounts(context, [(ACCOUNT, LAST_DAY)], NOW).unchanged == 1


def test_a_creative_in_several_ad_sets_keeps_its_history(engine: Engine, objects: ObjectStore) -> None:
    """An ad set that ends or begins is no change while another of its ad sets goes on."""
    days = [
        [row for row in rows if row["ad_id"] != "1" or number < 30]
        for number, rows in enumerate(_make_rows())
    ]  # fmt: skip
    for rows in days:
        for row in rows:
            row["adset_id"] = f"set {row['ad_id']}"
    found = _score(Context(engine, objects, Settings()), days, {"1": "9", "2": "9"})
    score = found["creative-9"].score
    assert score.baseline["age_days"] == DAYS
    assert "audience_changed" not in score.baseline["flags"]


def test_the_frequency_of_a_creative() -> None:
    """Impressions of the week over the sum of the people of each ad; ads of equal frequency have it together."""
    listed = [
        {"account_id": "1", "ad_id": ad, "date_start": str(LAST_DAY - timedelta(days=back)), "impressions": shown}
        for ad, shown in (("1", "100"), ("2", "300"), ("3", "50"))
        for back in (0, 1, 9)
    ]
    table = fatigue_scores.to_text_table(ColumnTable.from_rows(listed))
    rows = parse_rows(ACCOUNT, table, Window(LAST_DAY - timedelta(days=9), LAST_DAY))
    part_of = {"1": "creative-9", "2": "creative-9", "4": "creative-8"}
    frequency_of = add_frequencies({"1": 4.0, "2": 2.0, "3": 3.0}, part_of, rows, LAST_DAY)
    assert frequency_of == {"creative-9": 800 / (200 / 4 + 600 / 2)}
    assert add_frequencies({"1": 2.0, "2": 2.0}, part_of, rows, LAST_DAY)["creative-9"] == 2.0
    assert add_frequencies({"3": 3.0}, part_of, rows, LAST_DAY) == {}
