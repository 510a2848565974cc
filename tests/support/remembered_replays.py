"""Replays of reviews that tests share: equal logs are replayed once."""

import copy
from collections.abc import Callable
from typing import Any

from adwarm.forecast.snapshot import StoredForecasts
from adwarm.patterns.opens import Opens
from adwarm.replay.replay_run import TrainTestSplit
from adwarm.replay.review import ReviewScope, review_log
from adwarm.settings import Settings

ReviewedLog = tuple[Any, dict[str, Any]]


def remember_replays() -> Callable[..., ReviewedLog]:
    """Return a `review_log` that replays each combination of log, weeks, live kind and settings once."""
    done: list[tuple[Opens, tuple[Any, ...], ReviewedLog]] = []

    def replay(
        opens: Opens,
        split: TrainTestSplit,
        live_kind: str,
        settings: Settings,
        *,
        stored: StoredForecasts,
        scope: ReviewScope,
    ) -> ReviewedLog:
        rest = (split, live_kind, scope, settings.planning, settings.forecast, stored.ids)
        for known, parameters, result in done:
            if parameters == rest and known.equals(opens):
                return copy.deepcopy(result)
        result = review_log(opens, split, live_kind, settings, stored=stored, scope=scope)
        done.append((opens, rest, copy.deepcopy(result)))
        return result

    return replay
