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


def move_ahead(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch, noticed_by: str) -> None:
    """Warm in UTC, change the zone at the platform, and let a warm or a list of the accounts notice it a day later."""
    desk.warm(KEY, RECENT, FINAL)
    source = desk.bench.source
    moved = replace(source.get_account("act_1"), data_zone=AHEAD)
    source.account_lookups.clear()

    def look_up(account_id: str) -> Account:
        source.account_lookups.append(account_id)
        return moved

    monkeypatch.setattr(source, "get_account", look_up)
    monkeypatch.setattr(source, "list_account_page", lambda *_: AccountPage((moved,)))
    desk.bench.clock.set(NOW + timedelta(hours=23))
    if noticed_by == "list":
        prefetch = desk.bench.prefetch
        parts = prefetch.context, prefetch.admission, prefetch.pipeline, desk.bench.clock
        AccountDiscovery(*parts).run({"default": lambda: source})
    desk.warm(KEY)


def missing(desk: ReaderHarness, key: ReportKey) -> str:
    """What the document of a key says that it lacks."""
    result = desk.reader.read(key)
    return str(json.loads(desk.reader.get_body(result))["missing"])


@pytest.mark.parametrize("noticed_by", ["warm", "list"])
def test_another_zone_is_noticed(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch, noticed_by: str) -> None:
    """The next warm reads the day that the key means in the new zone; only an account that no list has cost a call."""
    move_ahead(desk, monkeypatch, noticed_by)
    assert desk.bench.source.account_lookups == ["act_1"] * (noticed_by == "warm")
    result = desk.reader.read(KEY)
    assert result.status is ReadStatus.HIT
    assert result.entry is not None
    assert str(result.entry.key.window) == "2026-11-26..2026-11-26"
    stored = accounts.get(desk.engine, "act_1")
    assert stored is not None
    assert stored.data_zone == AHEAD


@pytest.mark.parametrize("noticed_by", ["warm", "list"])
def test_former_days_are_named_and_read_again(
    desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch, noticed_by: str
) -> None:
    """Nothing of the former zone is a hit; days that are not final are read again and lose the name, others keep it."""
    move_ahead(desk, monkeypatch, noticed_by)
    assert [desk.reader.read(key).status for key in (RECENT, FINAL)] == [ReadStatus.STALE] * 2
    assert [(item.account_id, item.days) for item in list_former_days(desk.engine)] == [("act_1", 7)]
    desk.bench.source.submitted.clear()
    desk.warm(RECENT, FINAL)
    read = {day for unit in desk.bench.source.submitted for window in unit.windows for day in window.days()}
    assert set(Window(date(2026, 11, 20), date(2026, 11, 24)).days()) <= read
    assert min(read) >= date(2026, 11, 20)
    assert NAME not in missing(desk, RECENT)
    assert NAME in missing(desk, FINAL)
    (former,) = list_former_days(desk.engine)
    assert (former.days, former.first, former.last) == (2, date(2026, 9, 1), date(2026, 9, 2))


def test_a_zone_that_changes_back(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Final days lose their name; an account that stays the same is read once in its time."""
    move_ahead(desk, monkeypatch, "warm")
    back, lookups = Account("act_1", "UTC", "UTC", "EUR"), list[str]()
    monkeypatch.setattr(desk.bench.source, "get_account", lambda name: lookups.append(name) or back)
    for _ in range(2):
        desk.bench.clock.sleep(CONFIRMED_LIFETIME.total_seconds() + 1)
        for _ in range(3):
            desk.warm(KEY)
    assert lookups == ["act_1"] * 2
    spec = desk.bench.settings.spec("default").hash
    states = partitions.list_states(desk.engine, "act_1", spec, Window(date(2026, 9, 1), date(2026, 9, 2)))
    assert [state.missing for state in states.values()] == [None, None]
