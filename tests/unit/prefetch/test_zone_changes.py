"""An account whose time zone changes at the platform: warming notices it, windows follow, and former days are named."""

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest

from adwarm.maintenance.account_discovery import AccountDiscovery
from adwarm.model import Account, ReportKey, Window
from adwarm.prefetch.account_fetch import CONFIRMED_LIFETIME
from adwarm.serving import ReadStatus
from adwarm.sources.protocol import AccountPage
from adwarm.store import accounts, partitions
from adwarm.store.zone_changes import list_former_days
from tests.unit.conftest import NOW, ReaderHarness

KEY = ReportKey("act_1", "yesterday")
RECENT = ReportKey("act_1", "2026-11-20..2026-11-24")
FINAL = ReportKey("act_1", "2026-09-01..2026-09-02")
AHEAD = "Pacific/Kiritimati"
NAME = "zone UTC: the day is counted in it"


def move_ahead(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch, noticed_by: str) -> None:
    """Warm in UTC, change the zone at the platform, and let a warm or a list of the accounts notice it a day later."""
    reading.warm(KEY, RECENT, FINAL)
    source = reading.harness.source
    moved = replace(source.get_account("act_1"), data_zone=AHEAD)
    source.account_lookups.clear()

    def look_up(account_id: str) -> Account:
        source.account_lookups.append(account_id)
        return moved

    monkeypatch.setattr(source, "get_account", look_up)
    monkeypatch.setattr(source, "list_account_page", lambda *_: AccountPage((moved,)))
    reading.harness.clock.set(NOW + timedelta(hours=23))
    if noticed_by == "list":
        prefetch = reading.harness.prefetch
        parts = prefetch.context, prefetch.admission, prefetch.pipeline, reading.harness.clock
        AccountDiscovery(*parts).run({"default": lambda: source})
    reading.warm(KEY)


def missing(reading: ReaderHarness, key: ReportKey) -> str:
    """What the document of a key says that it lacks."""
    result = reading.reader.read(key)
    return str(json.loads(reading.reader.get_body(result))["missing"])


@pytest.mark.parametrize("noticed_by", ["warm", "list"])
def test_another_zone_is_noticed(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch, noticed_by: str) -> None:
    """The next warm reads the day that the key means in the new zone; only an account that no list has cost a call."""
    move_ahead(reading, monkeypatch, noticed_by)
    assert reading.harness.source.account_lookups == ["act_1"] * (noticed_by == "warm")
    result = reading.reader.read(KEY)
    assert result.status is ReadStatus.HIT
    assert result.entry is not None
    assert str(result.entry.key.window) == "2026-11-26..2026-11-26"
    stored = accounts.get(reading.engine, "act_1")
    assert stored is not None
    assert stored.data_zone == AHEAD


@pytest.mark.parametrize("noticed_by", ["warm", "list"])
def test_former_days_are_named_and_read_again(
    reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch, noticed_by: str
) -> None:
    """Nothing of the former zone is a hit; days that are not final are read again and lose the name, others keep it."""
    move_ahead(reading, monkeypatch, noticed_by)
    assert [reading.reader.read(key).status for key in (RECENT, FINAL)] == [ReadStatus.STALE] * 2
    assert [(item.account_id, item.days) for item in list_former_days(reading.engine)] == [("act_1", 7)]
    reading.harness.source.submitted.clear()
    reading.warm(RECENT, FINAL)
    read = {day for unit in reading.harness.source.submitted for window in unit.windows for day in window.days()}
    assert set(Window(date(2026, 11, 20), date(2026, 11, 24)).days()) <= read
    assert min(read) >= date(2026, 11, 20)
    assert NAME not in missing(reading, RECENT)
    assert NAME in missing(reading, FINAL)
    (former,) = list_former_days(reading.engine)
    assert (former.days, former.first, former.last) == (2, date(2026, 9, 1), date(2026, 9, 2))


def test_a_zone_that_changes_back(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Final days lose their name; an account that stays the same is read once in its time."""
    move_ahead(reading, monkeypatch, "warm")
    back, lookups = Account("act_1", "UTC", "UTC", "EUR"), list[str]()
    monkeypatch.setattr(reading.harness.source, "get_account", lambda name: lookups.append(name) or back)
    for _ in range(2):
        reading.harness.clock.sleep(CONFIRMED_LIFETIME.total_seconds() + 1)
        for _ in range(3):
            reading.warm(KEY)
    assert lookups == ["act_1"] * 2
    spec = reading.harness.settings.spec("default").hash
    states = partitions.list_states(reading.engine, "act_1", spec, Window(date(2026, 9, 1), date(2026, 9, 2)))
    assert [state.missing for state in states.values()] == [None, None]
