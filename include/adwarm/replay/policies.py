"""The policy adwarm, and the policies by name: built-in ones, and a user's own as `module:Class`.

Replays a forecast as production uses it: its own training, its calibrated chances, and the plan's choice of keys.

A key gets a value at a decision when the plan would consider it then: its warm is due before the next decision, and
an open is likely enough before the fetched entry expires. The value is that chance. The plan compares it with a price,
which `adwarm.replay.deployed_plan` simulates; the replay's thresholds on it draw the curve for other budgets.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import numpy as np

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.fetch_plan import SESSION
from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.models.boosted import HISTORY_MICROS, BoostedModel, Horizons
from adwarm.forecast.protocol import Forecast, SlotChances, data_cutoff_at
from adwarm.forecast.snapshot import StoredForecasts
from adwarm.forecast.training.boosted_training import train_model
from adwarm.forecast.training.train import TRAINERS, RepeatedTraining, fit_forecast
from adwarm.foundation.arrow_arrays import Ints
from adwarm.foundation.errors import BadRequest
from adwarm.model import ReportKey
from adwarm.patterns.opens import Opens
from adwarm.planning.plan import (
    LOOKAHEAD,
    MIN_PROBABILITY,
    START_LATENCY,
    LikelyKeys,
    PlanTiming,
    find_likely_keys,
    get_lead_time,
)
from adwarm.planning.store_view import NEVER
from adwarm.replay import baselines
from adwarm.replay.policy import FOREVER, DecisionTimes, EntryLifetime, Policy, PredictedEvent, Ranking, ReplayTiming
from adwarm.settings import Settings

FORECAST_PREFIX = "forecast-"
_DIGITS = 9
"""Digits kept: sums of many numbers differ in the last digits with the number of keys predicted at once."""

PlanObserver = Callable[[int, LikelyKeys], None]
"""Called with a decision's moment, microseconds since 1970, and the keys that the plan considers then, if any."""
_LAST = to_micros(datetime(9000, 1, 1, tzinfo=UTC))
_MARGIN = 2 * SLOTS_PER_DAY * SLOT_MICROS
"""Digits kept: sums of many numbers differ in the last digits with the number of pairs predicted at once."""
BOUNDS = {"none", "everything", "oracle"}
"""Policies that mark the ends of the scale and do not compete."""


def get_policy_name(kind: str) -> str:
    """Return the name of the policy that replays a kind of forecast, such as `forecast-hour-of-week`."""
    return FORECAST_PREFIX + kind.replace("_", "-")


class ForecastPolicy:
    """Replays one kind of forecast.

    Args:
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
        past = history.before(to_micros(until)).since(since)
        return fit_forecast(self.kind, past.select_keys(past.opened_keys()), self._settings, until, self._trainer)

    def _find_likely(
        self, forecast: Forecast, chances: SlotChances, numbers: Ints, view: "KeyLifetimes", timing: ReplayTiming
    ) -> LikelyKeys | None:
        """Return the keys that the plan considers; None when no key can be due."""
        planning = self._settings.planning
        lead = get_lead_time(timedelta(microseconds=timing.latency))
        plan_timing = PlanTiming(chances.start, timedelta(microseconds=timing.step) + START_LATENCY, lead)
        due_until = chances.start + plan_timing.horizon + lead
        selected = chances.find_likely(due_until, MIN_PROBABILITY) & (numbers >= 0)
        if not selected.any():
            return None
        frame = forecast.to_frame(chances, floor=MIN_PROBABILITY, selected=selected)
        return find_likely_keys(plan_timing, frame, view, planning.min_confidence)

    def _to_ranking(
        self, index: int, chances: SlotChances, likely: LikelyKeys | None, numbers: Ints, view: "KeyLifetimes"
    ) -> Ranking:
        numbered = np.flatnonzero(numbers >= 0)
        key = numbers[numbered]
        size = len(view.numbers)
        value, warm_at = np.zeros(size), np.full(size, to_micros(chances.start), np.int64)
        if likely is not None:
            chosen = view.get_numbers(likely.keys)
            lasts = likely.get_lasting(SESSION)
            value[chosen] = np.where(lasts, np.round(likely.chance, _DIGITS), 0.0)
            warm_at[chosen] = [to_micros(moment) for moment in likely.warm_at]
        soon = np.round(chances.get_chance_until(chances.start + self._entry_lifetime)[numbered], _DIGITS)
        return Ranking(index, key.astype(np.int32), value[key], soon, warm_at[key], renew_at_expiry=True)


class KeyLifetimes:
    """Numbers of report keys, and when their entries expire in the replay; an `ExpiryView`."""

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


def _key_rows(forecast: Forecast) -> Iterator[tuple[str, str, str]]:
    columns = forecast.keys[["account_id", "date_range", "report"]]
    return columns.itertuples(index=False, name=None)


class AdwarmPolicy:
    """Ranks keys by the value of a warm from the adwarm model alone, which each fit trains anew.

    `ForecastPolicy` replays the whole forecast that the model is part of, with the deployed plan's decision.
    """

    name = "adwarm"
    about = (
        "The chance of a first open within the lifetime of an entry, by the model that did best on held-out weeks of "
        "training, weighed by how soon it is due."
    )

    def __init__(self) -> None:
        self.model: BoostedModel | None = None
        self._predicted_event: PredictedEvent | None = None

    @property
    def predicted_event(self) -> PredictedEvent | None:
        """A first open within the lifetime of an entry that is fetched now."""
        return self._predicted_event

    def fit(self, history: Opens, timing: ReplayTiming) -> None:
        """Train on the history."""
        horizons = Horizons(
            max(1, round(timing.step / SLOT_MICROS)),
            min(max(1, round(timing.ttl / SLOT_MICROS)), SLOTS_PER_DAY),
            timing.lag,
        )
        self._predicted_event = PredictedEvent(horizons.lifetime * SLOT_MICROS)
        until = int(history.ts[-1]) + 1 if len(history) else 0
        self.model = train_model(history, until, horizons)

    def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
        """Yield the value of a warm and the chance of a first open for every known key."""
        model = self.model
        if model is None or not len(history):
            return
        first = int(decisions.at[0])
        grid = OpenGrid.from_opens(
            history,
            int(decisions.at[-1]) + SLOT_MICROS,
            since=first - HISTORY_MICROS - _MARGIN,
            delay=decisions.timing.lag,
        )
        columns = decisions.at // SLOT_MICROS - grid.origin
        key = np.arange(grid.key_count, dtype=np.int64)
        value, chance = model.predict(grid, np.tile(key, len(columns)), np.repeat(columns, grid.key_count))
        shape = (len(columns), grid.key_count)
        value, chance = np.round(value, _DIGITS).reshape(shape), np.round(chance, _DIGITS).reshape(shape)
        for index in range(len(columns)):
            yield Ranking(index, key.astype(np.int32), value[index], chance[index], renew_at_expiry=True)


def _forecast(kind: str) -> Callable[[Opens, EntryLifetime, Settings], Policy]:
    return lambda _opens, lifetime, settings: ForecastPolicy(kind, settings, lifetime)


FORECASTS = {get_policy_name(kind): _forecast(kind) for kind in TRAINERS}
"""Constructors of the policies that replay the kinds of forecast with the deployed plan, the plainest first."""

BUILT_IN: dict[str, Callable[[Opens, EntryLifetime, Settings], Policy]] = {
    "none": lambda *_: baselines.NoWarming(),
    "everything": lambda *_: baselines.WarmEverything(),
    "popularity": lambda *_: baselines.Popularity(),
    "top-each-hour": lambda *_: baselines.TopEachHour(),
    "population-profile": lambda *_: baselines.PopulationProfile(),
    "hour-of-week": lambda *_: baselines.HourOfWeek(),
    "adwarm": lambda *_: AdwarmPolicy(),
    **FORECASTS,
    "oracle": lambda opens, lifetime, _: baselines.Oracle(opens, lifetime),
}
"""Constructors by name. Each gets the log, which only the oracle uses, the lifetime of entries, and the settings."""


def load_policies(
    names: Sequence[str | Policy], opens: Opens, lifetime: EntryLifetime, settings: Settings
) -> list[Policy]:
    """Return the policies for `names`: a built-in name, `module:Class` of the user's own, a group, or a policy itself.

    The group `forecasts` holds the kinds of forecast, which take longest; `all` holds the other built-in policies.

    Raises:
        BadRequest: there is no such policy.
    """
    groups = {"all": [name for name in BUILT_IN if name not in FORECASTS], "forecasts": list(FORECASTS)}
    expanded = [name for given in names for name in (groups.get(given, [given]) if isinstance(given, str) else [given])]
    return [
        _load_policy(name, opens, lifetime, settings) if isinstance(name, str) else name
        for name in dict.fromkeys(expanded)
    ]


def _load_policy(name: str, opens: Opens, lifetime: EntryLifetime, settings: Settings) -> Policy:
    if name in BUILT_IN:
        return BUILT_IN[name](opens, lifetime, settings)
    module, colon, attribute = name.partition(":")
    if not colon:
        raise BadRequest(
            f"policy {name!r} is not one of all, forecasts, {', '.join(BUILT_IN)}; your own is written module:Class"
        )
    try:
        policy_class: Any = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise BadRequest(f"policy {name!r} cannot be loaded: {error}; is its folder on PYTHONPATH?") from error
    return cast("Policy", policy_class())
