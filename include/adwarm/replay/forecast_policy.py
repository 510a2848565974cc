"""Replays a forecast as production uses it: its own training, its calibrated chances, and the plan's choice of keys.

A key gets a value at a decision when the plan would consider it then: its warm is due before the next decision, and
an open is likely enough before the fetched entry expires. The value is that chance. The plan compares it with a price,
which `adwarm.replay.deployed_plan` simulates; the replay's thresholds on it draw the curve for other budgets.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.forecast.protocol import Forecast, SlotChances, data_cutoff_at
from adwarm.forecast.snapshot import StoredForecasts
from adwarm.forecast.training.train import TRAINERS, RepeatedTraining, fit_forecast
from adwarm.foundation.arrow_arrays import Ints
from adwarm.model import ReportKey
from adwarm.patterns.opens import Opens
from adwarm.planning.decide import MIN_PROBABILITY
from adwarm.planning.expiry import NEVER
from adwarm.planning.plan import LOOKAHEAD, SESSION, LikelyKeys, PlanTiming, find_likely_keys, get_lead_time
from adwarm.replay.entry_lifetimes import FOREVER, EntryLifetime
from adwarm.replay.policy import DecisionTimes, PredictedEvent, Ranking, ReplayTiming
from adwarm.settings import Settings

FORECAST_PREFIX = "forecast-"
_DIGITS = 9
"""Digits kept: sums of many numbers differ in the last digits with the number of keys predicted at once."""

PlanObserver = Callable[[int, LikelyKeys], None]
"""Called with a decision's moment, microseconds since 1970, and the keys that the plan considers then, if any."""


def get_policy_name(kind: str) -> str:
    """Return the name of the policy that replays a kind of forecast, such as `forecast-hour-of-week`."""
    return FORECAST_PREFIX + kind.replace("_", "-")


class ForecastPolicy:
    """Replays one kind of forecast.

    Args:
        kind: the kind of forecast.
        settings: those of training and planning.
        lifetime: until when entries are fresh.
        stored: the stored forecasts; each day is replayed with the newest one that has seen nothing of it. On a day
            without one, and without them, the kind is trained anew every week on what was known then.
    """

    def __init__(
        self, kind: str, settings: Settings, lifetime: EntryLifetime, *, stored: StoredForecasts | None = None
    ) -> None:
        self.kind, self.name = kind, get_policy_name(kind)
        self.about = (
            f"The forecast {kind} with its production training and calibration; keys and times are those that the plan "
            f"considers. Trained anew every week of the replay."
        )
        if stored is not None:
            self.about = (
                f"The snapshots of the forecast {kind} as they were stored, each day with the newest one that has seen "
                f"nothing of it; keys and times are those that the plan considers."
            )
        self.observer: PlanObserver | None = None
        self._settings, self._lifetime, self._stored = settings, lifetime, stored
        self._forecast: Forecast | None = None
        self._trainer = RepeatedTraining(TRAINERS[kind])
        self._entry_lifetime = settings.freshness_rules.today

    @property
    def predicted_event(self) -> PredictedEvent | None:
        """A first open within the lifetime of an entry with today's data that is fetched now.

        Chances of the time after the decision are given no open between the cutoff of the log and the decision.
        """
        return PredictedEvent(self._entry_lifetime // timedelta(microseconds=1))

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Train anew before the next ranking, which tells the moment."""
        self._forecast = None

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield each decision's chances, and a value for the keys that the plan considers."""
        starts = [from_micros(at) for at in decisions.at.tolist()]
        cutoffs = [
            min(data_cutoff_at(start, self._settings), from_micros(cutoff))
            for start, cutoff in zip(starts, decisions.cutoff.tolist(), strict=True)
        ]
        forecast = None if self._stored is None else self._stored.get(self.kind, cutoffs[0])
        if forecast is None:
            forecast = self._forecast = self._forecast or self._train(history, cutoffs[0])
        view = KeyLifetimes(history, self._lifetime)
        numbers = np.array([view.numbers.get(ReportKey(*row), -1) for row in _key_rows(forecast)], np.int64)
        series = forecast.predict_series(starts, LOOKAHEAD, history, cutoffs)
        for index, chances in enumerate(series):
            likely = self._find_likely(forecast, chances, numbers, view, decisions.timing)
            if self.observer is not None and likely is not None:
                self.observer(int(decisions.at[index]), likely)
            ranking = self._to_ranking(index, chances, likely, numbers, view)
            yield replace(ranking, known_until=to_micros(cutoffs[index]))

    def _train(self, history: Opens, until: datetime) -> Forecast:
        since = to_micros(until - timedelta(days=self._settings.forecast.history_days))
        known = history.before(to_micros(until)).since(since)
        return fit_forecast(self.kind, known.select_keys(known.opened_keys()), self._settings, until, self._trainer)

    def _find_likely(
        self, forecast: Forecast, chances: SlotChances, numbers: Ints, view: "KeyLifetimes", timing: ReplayTiming
    ) -> LikelyKeys | None:
        """Return the keys that the plan considers; None when no key can be due."""
        planning = self._settings.planning
        start_latency = timedelta(seconds=planning.lead_seconds)
        lead = get_lead_time(start_latency, timedelta(microseconds=timing.latency))
        plan_timing = PlanTiming(chances.start, timedelta(microseconds=timing.step) + start_latency, lead)
        due_until = chances.start + plan_timing.horizon + lead
        selected = chances.find_likely(due_until, MIN_PROBABILITY) & (numbers >= 0)
        if not selected.any():
            return None
        frame = forecast.to_frame(chances, floor=MIN_PROBABILITY, selected=selected)
        return find_likely_keys(plan_timing, frame, view, planning.min_confidence)

    def _to_ranking(
        self, index: int, chances: SlotChances, likely: LikelyKeys | None, numbers: Ints, view: "KeyLifetimes"
    ) -> Ranking:
        known = np.flatnonzero(numbers >= 0)
        key = numbers[known]
        size = len(view.numbers)
        value, warm_at = np.zeros(size), np.full(size, to_micros(chances.start), np.int64)
        if likely is not None:
            chosen = view.get_numbers(likely.keys)
            lasts = likely.get_lasting(SESSION)
            value[chosen] = np.where(lasts, np.round(likely.chance, _DIGITS), 0.0)
            warm_at[chosen] = [to_micros(moment) for moment in likely.warm_at]
        soon = np.round(chances.get_chance_until(chances.start + self._entry_lifetime)[known], _DIGITS)
        return Ranking(index, key.astype(np.int32), value[key], soon, warm_at[key], renew_at_expiry=True)


class KeyLifetimes:
    """Numbers of report keys, and when their entries expire in the replay; an `ExpiryView`.

    Args:
        opens: the keys.
        lifetime: until when entries are fresh.
    """

    def __init__(self, opens: Opens, lifetime: EntryLifetime) -> None:
        self.numbers = {opens.report_key(number): number for number in range(opens.key_count)}
        self._lifetime = lifetime

    def get_numbers(self, keys: Sequence[ReportKey]) -> Ints:
        """Return the number of each key."""
        return np.array([self.numbers[key] for key in keys], np.int64)

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime]:
        """Return when an entry fetched then would stop answering the key."""
        fetched = np.array([to_micros(moment) for moment in moments], np.int64)
        return [to_expiry(until) for until in self._lifetime.fresh_until(self.get_numbers(keys), fetched).tolist()]


def to_expiry(until: int) -> datetime:
    """Return an expiry in microseconds as a moment; `NEVER` when it is out of reach."""
    return NEVER if until >= FOREVER // 2 or until >= _LAST else from_micros(until)


_LAST = to_micros(datetime(9000, 1, 1, tzinfo=UTC))


def _key_rows(forecast: Forecast) -> Iterator[tuple[str, str, str]]:
    columns = forecast.keys[["account_id", "date_range", "report"]]
    return columns.itertuples(index=False, name=None)
