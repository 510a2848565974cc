"""Computes again what the forecast said about a key at a decision, past or to come. Writes nothing."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Generic, TypeVar

import numpy as np
import pandas as pd

from adwarm.forecast.protocol import Forecast, data_cutoff_at
from adwarm.forecast.snapshot import read_snapshot
from adwarm.foundation.arrow_arrays import Bools
from adwarm.foundation.errors import Corrupt, NotFound
from adwarm.model import ReportKey, Snapshot
from adwarm.patterns.open_history import load_opens
from adwarm.planning.decide import MIN_PROBABILITY, get_recent_opens, get_timing
from adwarm.planning.key_decision import KeyFrames, decide_key, select_key
from adwarm.planning.plan import LOOKAHEAD
from adwarm.planning.store_view import StoreView
from adwarm.planning.why_not_warm import ForecastState, FreshSpan
from adwarm.store import Context, key_history, read_transaction

_MOST_KEPT: Final = 64
_EVERY_HOUR: Final = -1.0
"""Floor of probabilities that leaves out no hour."""


T = TypeVar("T")


class _Recent(Generic[T]):
    """The values that were asked for last, by name. Safe for several threads."""

    def __init__(self) -> None:
        self._values: OrderedDict[object, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: object) -> T | None:
        """Return a value that is kept, or None."""
        with self._lock:
            if name in self._values:
                self._values.move_to_end(name)
            return self._values.get(name)

    def set(self, name: object, value: T) -> None:
        """Keep a value, and forget the one that was not asked for longest when there are too many."""
        with self._lock:
            self._values[name] = value
            while len(self._values) > _MOST_KEPT:
                self._values.popitem(last=False)


class KeyForecasts:
    """What forecasts said about accounts. Safe for several threads.

    With many keys it takes seconds to compute the probabilities of an account at a decision, because a forecast also
    weighs how busy all readers are; those asked for last are kept.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._frames: _Recent[pd.DataFrame] = _Recent()
        self._states: _Recent[ForecastState] = _Recent()

    def load(self, key: ReportKey, decided_at: datetime, now: datetime, spans: Sequence[FreshSpan]) -> ForecastState:
        """Return what the forecast that was live at a decision said about a key then.

        Args:
            decided_at: the decision time, UTC.
            now: the time of the question, UTC.
            spans: when an entry answered the key.
        """
        context = self._context
        with read_transaction(context.engine) as connection:
            snapshot, is_assumed = key_history.find_snapshot_at(connection, min(decided_at, now))
        if snapshot is None:
            return ForecastState(problem=_describe_absence(is_assumed=is_assumed))
        name = (snapshot.id, is_assumed, key, decided_at, tuple(spans))
        is_past = decided_at <= now
        state = self._states.get(name) if is_past else None
        if state is None:
            state = self._compute(key, decided_at, spans, (snapshot, is_assumed))
            if is_past and state.decision is not None:
                self._states.set(name, state)
        return state

    def _compute(
        self, key: ReportKey, decided_at: datetime, spans: Sequence[FreshSpan], live: tuple[Snapshot, bool]
    ) -> ForecastState:
        context, (snapshot, is_assumed) = self._context, live
        try:
            every_hour = self._get_frame(snapshot, key.account_id, decided_at)
        except (NotFound, Corrupt) as error:
            return ForecastState(problem=f"the forecast {snapshot.id[:12]} cannot be read: {error}")
        stated = every_hour[every_hour["probability"] > MIN_PROBABILITY].reset_index(drop=True)
        frames = KeyFrames(stated, select_key(every_hour, key))
        view = _PastView(context, decided_at, key, spans)
        decision = decide_key(key, get_timing(context, decided_at), frames, view, context.settings.planning)
        return ForecastState(
            decision,
            snapshot_id=snapshot.id,
            kind=snapshot.kind,
            trained_from=snapshot.trained_from,
            trained_until=snapshot.trained_until,
            is_assumed=is_assumed,
            known_until=data_cutoff_at(decided_at, context.settings),
        )

    def _get_frame(self, snapshot: Snapshot, account_id: str, decided_at: datetime) -> pd.DataFrame:
        """Return the probabilities of an account, every hour of each key."""
        name = (snapshot.id, account_id, decided_at)
        frame = self._frames.get(name)
        if frame is None:
            frame = self._predict(read_snapshot(self._context, snapshot), account_id, decided_at)
            self._frames.set(name, frame)
        return frame

    def _predict(self, forecast: Forecast, account_id: str, decided_at: datetime) -> pd.DataFrame:
        selected: Bools = np.asarray(forecast.keys["account_id"].to_numpy(dtype=object) == account_id, np.bool_)
        if not selected.any():
            return forecast.keys.iloc[:0].assign(probability=0.0)
        focused = forecast.focus(account_id)
        recent = get_recent_opens(self._context, forecast, decided_at)
        opens = recent.opens if recent else load_opens(self._context, decided_at, decided_at)
        cutoff = recent.until if recent else decided_at
        [chances] = focused.predict_series([decided_at], LOOKAHEAD, opens, [cutoff])
        return focused.to_frame(chances, floor=_EVERY_HOUR, selected=selected)


class _PastView(StoreView):
    """The store as it was at a decision, as far as that is recorded.

    Entries and days that were fetched later are left out; when the entry of the key itself was fresh is known better.
    """

    def __init__(self, context: Context, at: datetime, key: ReportKey, spans: Sequence[FreshSpan]) -> None:
        super().__init__(context, at, known_at=at)
        self._at = at
        self._key = key
        self._spans = spans

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        """Return until when the entry stored for each key at its moment is fresh; None when nothing is stored."""
        ends = super().get_fresh_until(keys, moments)
        return [
            self._find_end(moment) or end if key == self._key else end
            for key, moment, end in zip(keys, moments, ends, strict=True)
        ]

    def _find_end(self, moment: datetime) -> datetime | None:
        """Return until when an entry was fresh at `moment` that had been fetched by the decision."""
        spans = (span for span in self._spans if span.fetched_at <= self._at and span.covers(moment))
        return next((span.until for span in spans), None)


def _describe_absence(*, is_assumed: bool) -> str:
    if is_assumed:
        return "no forecast of that time is stored any more; ADWARM_RETENTION__HISTORY_DAYS keeps unused ones longer"
    return "no forecast is live yet; `adwarm learn` trains one, as the DAG adwarm_access_patterns does"
