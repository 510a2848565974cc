"""The adwarm forecast: predictions by recent opens, distribution over hours, stored form, batches of keys."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from adwarm.forecast import serialization
from adwarm.forecast.features.grid import SLOT_MICROS, OpenGrid
from adwarm.forecast.features.public_holidays import HolidayEffect
from adwarm.forecast.models.boosted import (
    EVEN_SHARE,
    STORED_TYPES,
    BoostedForecast,
    BoostedModel,
    Horizons,
    chance_in_part,
    predict_in_batches,
)
from adwarm.forecast.models.classifiers import Calibration
from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.protocol import PROBABILITY_COLUMNS, RecentOpens
from adwarm.forecast.training.boosted_training import train_model
from adwarm.forecast.training.train import train_boosted
from adwarm.foundation.errors import AdwarmError, Corrupt
from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.settings import Settings
from tests.unit.forecast.training.test_boosted_training import log, micros

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SETTINGS = Settings(forecast={"log_every_minutes": 15})


def _office(days: int = 63, accounts: int = 8) -> pd.DataFrame:
    """Accounts opened around nine on two days of three, each a little later than the one before."""
    draw = np.random.default_rng(3)
    rows = [
        {
            "account_id": f"act_{n}",
            "date_range": date_range,
            "report": "default",
            "time_zone": "Europe/Rome",
            "ts": MONDAY - (days - day) * DAY + 8 * HOUR + timedelta(minutes=int(7 * n + draw.integers(0, 20))),
        }
        for day in range(days)
        for n in range(1, accounts + 1)
        for date_range in ("today", "last_7d")
        if draw.random() < 0.66
    ]
    frame = pd.DataFrame(rows)
    return frame.assign(ts=pd.to_datetime(frame["ts"], utc=True))


pytestmark = pytest.mark.slow  # a model is trained first


@pytest.fixture(scope="module")
def known() -> Opens:
    """Nine weeks of opens, the last of them not trained on."""
    return opens_from_frame(_office())


@pytest.fixture(scope="module")
def forecast(known: Opens) -> BoostedForecast:
    """Trained a week before the log ends."""
    return train_boosted(known, SETTINGS, MONDAY - 7 * DAY)


def _ask(forecast: BoostedForecast, opens: Opens | None, at: datetime, seen: datetime | None = None) -> pd.DataFrame:
    recent = None if opens is None else RecentOpens(opens, seen or at)
    return forecast.predict(at, DAY, recent, floor=0.0)


def test_the_frame_has_the_columns_of_the_protocol(forecast: BoostedForecast, known: Opens) -> None:
    """Rows are sorted by key and time, with the documented columns, a row per hour, and evidence."""
    at = MONDAY - 3 * DAY + 7.25 * HOUR
    result = _ask(forecast, known, at)
    assert list(result.columns) == PROBABILITY_COLUMNS
    assert len(result.groupby(["account_id", "date_range"])) == 16
    assert (result["slot_start"].min(), result["slot_end"].max()) == (pd.Timestamp(at), pd.Timestamp(at + DAY))
    assert result["probability"].between(0, 1).all()
    assert (result["predicted_open"] >= result["slot_start"]).all()
    assert (result["predicted_open"] < result["slot_end"]).all()
    nine = result[(result["hour_of_week"] % 24 == 9) & (result["account_id"] == "act_1")]
    assert (nine["opens"] > 0).all()
    assert (nine["weeks"] >= nine["opens"]).all()


def test_slots_together_have_the_model_s_chance(forecast: BoostedForecast, known: Opens) -> None:
    """The chance of no open in any slot of the lifetime is one minus the model's chance."""
    at = MONDAY - 3 * DAY + 10 * HOUR - forecast.lifetime
    result = _ask(forecast, known, at)
    inside = result[result["slot_end"] <= pd.Timestamp(at + forecast.lifetime)]
    none = (1 - inside["probability"]).groupby([inside["account_id"], inside["date_range"]]).prod()
    model = predict_in_batches(forecast.model, known.before(micros := int(at.timestamp()) * 10**6), [micros])[1][0]
    model = model[np.argsort([str(known.report_key(key)) for key in range(known.key_count)])]
    names = forecast.keys[["account_id", "date_range"]].itertuples(index=False, name=None)
    assert model.max() > 0.5
    for predicted, name in zip(model, names, strict=True):
        assert 1 - none[name] == pytest.approx(predicted, abs=1e-9)


def test_a_series_predicts_what_single_calls_predict(forecast: BoostedForecast, known: Opens) -> None:
    """Moments predicted together, some from the same cutoff, give the frames of single calls, within the lookback."""
    known = known.since(int((MONDAY - 50 * DAY).timestamp()) * 10**6)
    starts = [MONDAY - 3 * DAY + minutes * HOUR / 60 for minutes in (430, 485, 490, 700)]
    cutoffs = [start.replace(minute=0) for start in starts]
    for start, cutoff, chances in zip(
        starts, cutoffs, forecast.predict_series(starts, DAY, known, cutoffs), strict=True
    ):
        assert_frame_equal(forecast.to_frame(chances, floor=0.0), _ask_until(forecast, known, start, cutoff))


def _ask_until(forecast: BoostedForecast, opens: Opens, start: datetime, cutoff: datetime) -> pd.DataFrame:
    micros = int(cutoff.timestamp()) * 10**6
    return forecast.predict(start, DAY, RecentOpens(opens.before(micros), cutoff), floor=0.0)


def test_a_focused_forecast_predicts_the_same_for_its_account(forecast: BoostedForecast, known: Opens) -> None:
    """Its account gets the probabilities of the whole forecast, another one other probabilities."""
    at = MONDAY + timedelta(hours=9)
    whole = _ask(forecast, known, at)
    names = whole["account_id"].unique().tolist()
    assert len(names) > 1
    focused = _ask(forecast.focus(names[0]), known, at)
    is_account = whole["account_id"] == names[0]
    pd.testing.assert_frame_equal(whole[is_account], focused[is_account])
    assert not whole[~is_account]["probability"].equals(focused[~is_account]["probability"])


def test_inactive_accounts_use_the_weekly_profile(
    forecast: BoostedForecast, known: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without recent opens and with few expected an account is not modeled; one open activates all its keys."""
    selected_counts: list[int] = []

    def counting(*args: Any, counts: list[int] = selected_counts, **options: Any) -> Any:
        counts.append(int(options["selected"].sum()))
        return predict_in_batches(*args, **options)

    monkeypatch.setattr("adwarm.forecast.models.boosted.predict_in_batches", counting)
    quiet = BoostedForecast(forecast.id, forecast.model, _Inactive(forecast.seasonal.observations))
    at = MONDAY - 3 * DAY + 6 * HOUR - forecast.lifetime
    assert_frame_equal(_ask(quiet, known, at), quiet.seasonal.predict(at, DAY, floor=0.0))
    came = pd.DataFrame([{**known.to_frame().iloc[0].to_dict(), "ts": pd.Timestamp(at - HOUR)}])
    assert not _ask(quiet, opens_from_frame(pd.concat([known.to_frame(), came])), at).equals(_ask(quiet, known, at))
    assert selected_counts[:2] == [0, 1]


class _Inactive(SeasonalForecast):
    """A weekly profile that expects almost no opens."""

    def rates(self, hour: int, rows: Any = None) -> Any:
        return super().rates(hour, rows) * 1e-3


def test_recent_opens_change_the_forecast(forecast: BoostedForecast, known: Opens) -> None:
    """A key that was opened half an hour ago is less likely to be opened first again than one that was not."""
    day = MONDAY - 3 * DAY
    at = day + 9 * HOUR
    frame = known.to_frame()
    today = (frame["ts"] >= day) & (frame["account_id"] == "act_2")
    absent = _ask(forecast, opens_from_frame(frame[~today]), at).set_index("account_id").loc["act_2", "probability"]
    came = pd.DataFrame([{**frame.iloc[0].to_dict(), "account_id": "act_2", "ts": pd.Timestamp(at - HOUR / 2)}])
    present = _ask(forecast, opens_from_frame(pd.concat([frame[~today], came])), at)
    assert present.set_index("account_id").loc["act_2", "probability"].iloc[0] != absent.iloc[0]


@settings(max_examples=8)
@given(st.integers(0, 7 * 96 - 1), st.integers(0, 6))
def test_opens_after_the_cutoff_are_ignored(forecast: BoostedForecast, known: Opens, quarter: int, behind: int) -> None:
    """The log cut at the cutoff gives the same frame as the whole log."""
    at = MONDAY - 7 * DAY + quarter * timedelta(minutes=15)
    seen = at - behind * timedelta(minutes=15)
    cut = opens_from_frame(known.to_frame()[lambda frame: frame["ts"] < pd.Timestamp(seen)])
    assert_frame_equal(_ask(forecast, cut, at, seen), _ask(forecast, known, at, seen))


def test_without_recent_opens_the_weekly_profile_predicts(forecast: BoostedForecast, known: Opens) -> None:
    """Without recent opens, or with a cutoff a lifetime ago, the weekly profile alone predicts."""
    at = MONDAY - 2 * DAY
    plain = forecast.seasonal.predict(at, DAY, floor=0.0)
    assert_frame_equal(_ask(forecast, None, at), plain)
    assert_frame_equal(_ask(forecast, known, at, at - forecast.lifetime), plain)
    assert not _ask(forecast, known, at, at - forecast.lifetime + HOUR).equals(plain)


def test_calibration_moves_the_chance_of_the_whole_lifetime(forecast: BoostedForecast, known: Opens) -> None:
    """The chance over all slots of the lifetime is the calibrated chance; the ids differ."""
    at = MONDAY - 3 * DAY + 10 * HOUR - forecast.lifetime
    curve = Calibration(1.2, 0.8, -0.4)
    frames = [_ask(each, known, at) for each in (forecast, forecast.calibrated(curve))]
    plain, moved = (frame[frame["slot_end"] <= pd.Timestamp(at + forecast.lifetime)] for frame in frames)
    names = ["account_id", "date_range"]
    whole = [1 - (1 - frame["probability"]).groupby([frame[name] for name in names]).prod() for frame in (plain, moved)]
    assert whole[1].to_numpy() == pytest.approx(curve(whole[0].to_numpy()), abs=1e-9)
    assert frames[0].iloc[-1]["probability"] == frames[1].iloc[-1]["probability"]
    assert forecast.calibrated(curve).id != forecast.id


CURVE = Calibration(0.9, 1.1, 0.1)


@pytest.fixture(scope="module")
def stored(forecast: BoostedForecast) -> bytes:
    """The stored form of the calibrated forecast."""
    return forecast.calibrated(CURVE).to_bytes()


def test_the_stored_form_gives_the_same_forecast(forecast: BoostedForecast, known: Opens, stored: bytes) -> None:
    """The stored form holds everything learned, and the id."""
    forecast, again = forecast.calibrated(CURVE), BoostedForecast.from_bytes(stored)
    at = MONDAY - 3 * DAY + 7 * HOUR
    assert (again.id, again.calibration) == (forecast.id, forecast.calibration)
    assert (again.trained_until, again.features) == (MONDAY - 7 * DAY, forecast.features)
    assert_frame_equal(_ask(again, known, at), _ask(forecast, known, at), check_dtype=False)


def test_equal_training_gives_an_equal_id() -> None:
    """The id depends on the opens, the horizons and the version; a day more of log changes it."""
    few = opens_from_frame(_office(12, 2))
    ids = [train_boosted(few, SETTINGS, MONDAY - days * DAY).id for days in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert train_boosted(few, Settings(), MONDAY - DAY).id != ids[0]


def test_only_listed_types_are_read(stored: bytes) -> None:
    """A type that is not listed is rejected when stored and when read, and so are damaged bytes and another kind."""
    with pytest.raises(Corrupt, match="is adwarm version 7, not another version 1"):
        serialization.decode_model(stored, "another", "1", STORED_TYPES)
    for data, types in ((stored[: len(stored) // 2], STORED_TYPES), (b"", STORED_TYPES), (stored, (BoostedModel,))):
        with pytest.raises(Corrupt, match="cannot be read"):
            serialization.decode_model(data, "adwarm", "7", types)
    for value in (MONDAY, np.array([MONDAY]), Horizons()):
        with pytest.raises(AdwarmError, match="cannot be stored"):
            serialization.encode_model({"id": value}, "adwarm", "1", (BoostedModel,))


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 3)), min_size=1, max_size=8), st.floats(0, 1))
def test_chances_of_parts_combine_to_the_whole(parts: list[tuple[float, float]], chance: float) -> None:
    """However a time is divided, the chances of its parts combine to the chance of the whole; none is zero."""
    hazards, lengths = np.array(parts).T
    whole, seconds = np.array([hazards.sum()]), lengths.sum()
    none = 1.0
    for hazard, length in zip(hazards, lengths, strict=True):
        part = chance_in_part(np.array([chance]), np.array([hazard]), whole, length / seconds)[0]
        assert 1 - part <= (1 - min(chance, 1 - 1e-9)) ** (EVEN_SHARE * length / seconds) + 1e-12
        none *= 1 - part
    assert 1 - none == pytest.approx(min(chance, 1 - 1e-9), abs=1e-6)


def test_a_public_holiday_is_as_quiet_as_earlier_ones_were(forecast: BoostedForecast) -> None:
    """On Easter Monday in Rome the chances are the usual ones times the share; on the next day the usual ones."""
    shares: list[dict[str, float]] = [{}, {"IT": 0.25}]
    both = [replace(forecast, model=replace(forecast.model, holidays=HolidayEffect(share))) for share in shares]
    easter_monday = datetime(2026, 4, 5, 22, tzinfo=UTC)
    usual, predicted = (_ask(each, None, easter_monday) for each in both)
    assert usual["probability"].max() > 0.4
    assert np.allclose(predicted["probability"], 0.25 * usual["probability"])
    assert_frame_equal(*(_ask(each, None, easter_monday + DAY) for each in both))


@pytest.fixture(scope="module")
def small_model() -> BoostedModel:
    """A model of ten days of another log."""
    return train_model(log(), micros(10), Horizons(4, 12))


def test_batches_change_nothing(small_model: BoostedModel) -> None:
    """Value and chance do not depend on the number of keys per batch."""
    opens, at, model = log(), micros(45, 8), small_model
    grid = OpenGrid.from_opens(opens.before(at), at)
    keys = opens.before(at).key_count
    together = model.predict(grid, np.arange(keys), np.full(keys, at // SLOT_MICROS - grid.origin))

    for keys_at_once in (1, 4, 100):
        worth, chance = predict_in_batches(model, opens, [at], keys_at_once=keys_at_once)
        assert np.allclose(worth[0], together[0]), keys_at_once
        assert np.allclose(chance[0], together[1]), keys_at_once
        assert chance.max() > 0


def test_accounts_without_a_selected_key_are_skipped(small_model: BoostedModel) -> None:
    """All keys of an account with a selected key are predicted; the other accounts get NaN."""
    opens, at, model = log(), micros(45, 8), small_model
    whole, known = predict_in_batches(model, opens, [at])[1][0], opens.before(at)
    selected = np.arange(known.key_count) == 3
    chance = predict_in_batches(model, opens, [at], selected=selected[None, :])[1][0]
    same = known.account == known.account[3]
    assert np.allclose(chance[same], whole[same])
    assert np.isnan(chance[~same]).all()


def test_a_moment_without_a_selected_key_gets_no_values(small_model: BoostedModel) -> None:
    """Of several moments, one at which no account is selected leaves the values of the others as they are."""
    opens, at, model = log(), [micros(45, 8), micros(45, 12)], small_model
    whole = predict_in_batches(model, opens, at)[1]
    selected = np.zeros(whole.shape, np.bool_)
    selected[1] = True
    chance = predict_in_batches(model, opens, at, selected=selected)[1]
    assert np.isnan(chance[0]).all()
    assert np.allclose(chance[1], whole[1])
    assert np.isnan(predict_in_batches(model, opens, at, selected=~np.ones_like(selected))[1]).all()


def test_an_empty_log_gives_no_values() -> None:
    """An empty log has no keys to predict."""
    empty = opens_from_frame(log().to_frame()).before(0)
    worth, _ = predict_in_batches(train_model(empty, micros(0), Horizons()), empty, [micros(0)])
    assert worth.shape == (1, 0)
