"""The dates of `make test-dates` are what their names say, and a run really sees them."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.support import dates
from tests.support.dates import DATES, PARTS, ROOT, TURN_PARTS
from tests.support.wall_clock import START_VARIABLE

TOMORROW = timedelta(days=1)


def test_the_days_are_what_their_names_say() -> None:
    """First and last day of a month, 29 February, 31 December, Sunday, Monday, and both ends of the world."""
    day = {name: date.local for name, date in DATES.items()}
    assert (day["month-start"].day, (day["month-end"] + TOMORROW).day) == (1, 1)
    assert [(day[name].month, day[name].day) for name in ("leap-day", "year-end")] == [(2, 29), (12, 31)]
    assert [day[name].isoweekday() for name in ("sunday", "monday")] == [7, 1]
    hours = [ZoneInfo(DATES[name].zone).utcoffset(day[name]) for name in ("ahead", "behind")]
    assert hours == [timedelta(hours=14), timedelta(hours=-11)]


@pytest.mark.parametrize(("name", "hours"), [("forward", 1), ("back", -1)])
def test_a_clock_changes_soon_after_the_start(name: str, hours: int) -> None:
    """Within two minutes New York's and Berlin's clocks move by an hour, in the direction of the name."""
    for city in ("new-york", "berlin"):
        date = DATES[f"{city}-{name}"]
        zone, moment = ZoneInfo(date.zone), date.moment
        before, after = ((moment + timedelta(minutes=m)).astimezone(zone).utcoffset() for m in (0, 2))
        assert before is not None
        assert after == before + timedelta(hours=hours)


def test_every_date_has_its_turn() -> None:
    """Twelve days in a row try every date; a name tries that one, nothing tries all; the parts exist."""
    first = datetime(2026, 11, 25, tzinfo=UTC)
    turns = [dates.choose("turn", first + number * TOMORROW) for number in range(len(DATES))]
    assert sorted(name for turn in turns for name in turn) == sorted(DATES)
    assert dates.choose("leap-day", first) == ["leap-day"]
    assert dates.choose("", first) == list(DATES)
    assert all((ROOT / part).exists() for part in (*PARTS, *TURN_PARTS))


def test_a_missing_library_is_told(tmp_path: Path) -> None:
    """The run does not pass silently on today's date: it says what to install."""
    with pytest.raises(SystemExit, match="apt-get install faketime"):
        dates.find_library([str(tmp_path)])


def test_a_real_clock_moves_to_the_date() -> None:
    """A process and its child show the date, and the monotonic clock is the machine's."""
    try:
        library = dates.find_library()
    except SystemExit as missing:
        pytest.skip(str(missing))
    date, started = DATES["ahead"], time.monotonic()
    shown = "import time; print(time.strftime('%F %H:%M'), time.monotonic())"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {shown!r}], check=True)"
    variables = os.environ | dates.environment(date, library, datetime.now(UTC))
    assert variables[START_VARIABLE] == "2027-06-15T09:59:00+00:00"
    text = subprocess.run([sys.executable, "-c", script], env=variables, check=True, capture_output=True, text=True)
    day, hour, monotonic = text.stdout.split()
    assert (day, hour) in {("2027-06-15", "23:59"), ("2027-06-16", "00:00")}
    assert started < float(monotonic) < started + 600
