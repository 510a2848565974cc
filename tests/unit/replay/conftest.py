"""A small log in which keys are opened at their own hours, and a split to replay it."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.replay.replay_run import TrainTestSplit
from adwarm.settings import Settings

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
RANGES = ["yesterday", "last_7d", "today", "this_month"]


def simulated_opens(weeks: int = 6, accounts: int = 3, seed: int = 3) -> pd.DataFrame:
    """Opens on working days near each key's own hour, some missing, some stray; one key appears late."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(accounts * len(RANGES)):
        account, date_range = f"act_{number // len(RANGES) + 1}", RANGES[number % len(RANGES)]
        first_day = 30 if number == 1 else 0
        for day in range(first_day, weeks * 7):
            at = MONDAY + timedelta(days=day, hours=8 + number % 9, minutes=float(rng.uniform(0, 40)))
            if day % 7 < 5 and rng.random() < 0.8:
                rows += [(at, account, date_range), (at + timedelta(minutes=2), account, date_range)]
            if rng.random() < 0.1:
                rows.append((MONDAY + timedelta(days=day, hours=float(rng.uniform(0, 24))), account, date_range))
    frame = pd.DataFrame(rows, columns=["ts", "account_id", "date_range"])
    return frame.assign(ts=pd.to_datetime(frame["ts"], utc=True), time_zone="Europe/Berlin")


@pytest.fixture(scope="session")
def office() -> pd.DataFrame:
    """Six weeks of opens."""
    return simulated_opens()


@pytest.fixture(scope="session")
def opens(office: pd.DataFrame) -> Opens:
    """The same as arrays."""
    return opens_from_frame(office)


@pytest.fixture(scope="session")
def split() -> TrainTestSplit:
    """Four weeks of training, two of scoring."""
    return TrainTestSplit(MONDAY, MONDAY + timedelta(weeks=4), MONDAY + timedelta(weeks=6))


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The defaults."""
    return Settings()
