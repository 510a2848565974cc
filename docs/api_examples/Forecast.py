from datetime import datetime, timedelta

import pandas as pd

from adwarm import Forecast


def next_opens(forecast: Forecast, now: datetime) -> pd.DataFrame:
    """Return the probability of a first open per key and hour of the next day."""
    return forecast.predict(now, timedelta(days=1))
