"""Keys: valid and invalid input, and resolving a report key to an entry key."""

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import BadRequest
from adwarm.model import (
    PRESETS,
    Account,
    EntryKey,
    QuerySpec,
    ReportKey,
    Window,
    matches_key,
    normalize_account_id,
    resolve_key,
)

HOSTILE = [
    "../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "act_1/../act_2",
    "act_1\0",
    "act_1%2f",
    "act_1\n2",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "{{ conf.get('x') }}",
    "{% raw %}",
    "${HOME}",
    "$(id)",
    "1;DROP TABLE entry",
    "' OR 1=1 --",
    "<script>",
    "act_١٢٣",
    "ACT_1",
    "1" * 21,
    "",
    " ",
]


def test_hostile_input_is_refused_everywhere(subtests: pytest.Subtests) -> None:
    """Paths, formulas, templates and injections are not valid in any part of a key."""
    for text in HOSTILE:
        with subtests.test(text=text):
            with pytest.raises(BadRequest):
                normalize_account_id(text)
            with pytest.raises(BadRequest):
                ReportKey.parse("act_1", text)
            with pytest.raises(BadRequest):
                ReportKey.parse("act_1", "last_7d", text)


def test_invalid_account_ids_are_refused(subtests: pytest.Subtests) -> None:
    """An account id is digits, with or without one `act_` before them."""
    for text in ["act_", "act__1", "act_1_2", "act-1", "a1"]:
        with subtests.test(text=text), pytest.raises(BadRequest):
            normalize_account_id(text)


@given(st.text())
def test_any_text_is_refused_or_normalized(text: str) -> None:
    """Over all Unicode, an accepted account id is `act_` and digits."""
    try:
        found = normalize_account_id(text)
    except BadRequest:
        return
    assert re.fullmatch(r"act_[0-9]{1,20}", found, re.ASCII)


@given(account=st.text(max_size=30), date_range=st.text(max_size=30), report=st.text(max_size=45))
def test_any_key_is_refused_or_harmless(account: str, date_range: str, report: str) -> None:
    """Accepted keys contain harmless characters only; no error but BadRequest is raised."""
    try:
        key = ReportKey.parse(account, date_range, report)
    except BadRequest:
        return
    assert re.fullmatch(r"act_[0-9]+ [a-z0-9_.-]+( \[[a-z0-9_]+\])?", str(key), re.ASCII)


@given(digits=st.from_regex(r"[0-9]{1,20}", fullmatch=True), date_range=st.sampled_from(sorted(PRESETS)))
def test_both_spellings_of_an_account_are_one_key(digits: str, date_range: str) -> None:
    """With or without `act_`, with spaces around it: the same key, stable when parsed again."""
    key = ReportKey.parse(digits, date_range)
    assert key == ReportKey.parse(f" act_{digits} ", f" {date_range} ")
    assert key == ReportKey.parse(key.account_id, key.date_range, key.report)


def test_the_message_says_what_to_write() -> None:
    """The message shows the input, shortened, and a valid example."""
    with pytest.raises(BadRequest, match=r"account id 'x{60}' is not valid; write act_ and up to 20 digits"):
        normalize_account_id("x" * 500)
    with pytest.raises(BadRequest, match="use lower-case letters, digits and _"):
        ReportKey.parse("1", "today", "Weekly")


def test_a_key_as_text() -> None:
    """The report is shown unless it is the default one."""
    assert str(ReportKey.parse("12", "last_7d")) == "act_12 last_7d"
    assert str(ReportKey.parse("12", "last_7d", "campaigns")) == "act_12 last_7d [campaigns]"


def test_the_hash_of_a_query() -> None:
    """Order does not matter; level, fields and attribution do."""
    spec = QuerySpec("ad", ("spend", "clicks"), ("7d_click", "1d_view"))
    assert spec.hash == QuerySpec("ad", ("clicks", "spend"), ("1d_view", "7d_click")).hash
    others = {QuerySpec("adset", spec.fields, spec.attribution_windows), QuerySpec("ad", ("spend",)), QuerySpec()}
    assert len({spec.hash, *(other.hash for other in others)}) == 4
    assert re.fullmatch(r"[0-9a-f]{12}", spec.hash)


def test_the_entry_key_changes_at_the_accounts_midnight() -> None:
    """A report key resolves to another entry after midnight in the data zone, whatever the reader zone is."""
    account = Account("act_1", data_zone="America/New_York", reader_zone="Asia/Tokyo")
    key, spec = ReportKey.parse("1", "yesterday"), QuerySpec()
    midnight = datetime(2026, 11, 25, 5, 0, tzinfo=UTC)
    before, after = (resolve_key(key, account, spec, midnight + timedelta(seconds=off)) for off in (-1, 0))
    assert before == EntryKey("act_1", Window(date(2026, 11, 23), date(2026, 11, 23)), spec.hash)
    assert after == EntryKey("act_1", Window(date(2026, 11, 24), date(2026, 11, 24)), spec.hash)


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),
    later=st.timedeltas(timedelta(0), timedelta(days=2)),
)
def test_the_entry_key_changes_only_with_the_local_day(moment: datetime, later: timedelta) -> None:
    """Warmer and reader agree all day: the key changes exactly when the local day does."""
    account, spec = Account("act_1", data_zone="Australia/Lord_Howe"), QuerySpec()
    key = ReportKey.parse("1", "last_7d")
    first, second = (resolve_key(key, account, spec, at) for at in (moment, moment + later))
    same_day = first.window.until == second.window.until
    assert (first == second) is same_day


def test_absolute_days_are_the_same_at_any_time() -> None:
    """A key of absolute days depends on neither clock nor zone."""
    key, spec = ReportKey.parse("1", "2026-01-01..2026-01-31"), QuerySpec()
    keys = {
        resolve_key(key, Account("act_1", data_zone=name), spec, datetime(year, 6, 1, tzinfo=UTC))
        for name in ("UTC", "Asia/Tokyo")
        for year in (2020, 2030)
    }
    assert keys == {EntryKey("act_1", Window(date(2026, 1, 1), date(2026, 1, 31)), spec.hash)}


def test_an_entry_matches_by_its_window() -> None:
    """An entry stored for absolute days matches last_7d on the day they mean the same, and not a day later."""
    account, spec = Account("act_1", "America/New_York"), QuerySpec()
    fetched = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    week = EntryKey("act_1", Window(date(2026, 11, 18), date(2026, 11, 24)), spec.hash)
    key = ReportKey("act_1", "last_7d")

    assert matches_key(week, key, account, spec, fetched)
    assert not matches_key(week, key, account, spec, fetched + timedelta(days=1))
