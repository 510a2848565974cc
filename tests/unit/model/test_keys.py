"""Keys: valid and invalid input, and resolving a report key to an entry key."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from facebook_business.adobjects.adsinsights import AdsInsights
from hypothesis import example, given
from hypothesis import strategies as st

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import local_day, zone
from adwarm.model import (
    PRESETS,
    Account,
    EntryKey,
    FreshnessRules,
    QuerySpec,
    ReportKey,
    Window,
    expires_at,
    is_settled,
    matches_key,
    normalize_account_id,
    resolve_key,
    resolve_window,
)
from adwarm.model.keys import check_served
from adwarm_client.date_ranges import MAX_DAYS, validate_date_range

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
    "%2e%2e%2f",
    "..",
    "act_1\0",
    '"act_1"',
    "a" * 65,
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
    """An account id begins with a letter or digit, has 64 characters at most, and is not the word for every account."""
    for text in ["_1", "-1", ".1", ":1", "a b", "a/b", "a%2eb", "ä", "all", "1" * 65]:
        with subtests.test(text=text), pytest.raises(BadRequest):
            normalize_account_id(text)


@given(st.text())
def test_any_text_is_refused_or_normalized(text: str) -> None:
    """Over all Unicode, an accepted account id is a harmless text, and stable when normalized again."""
    try:
        found = normalize_account_id(text)
    except BadRequest:
        return
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", found, re.ASCII)
    assert normalize_account_id(found) == found


@given(account=st.text(max_size=30), date_range=st.text(max_size=30), report=st.text(max_size=45))
def test_any_key_is_refused_or_harmless(account: str, date_range: str, report: str) -> None:
    """Accepted keys contain harmless characters only; no error but BadRequest is raised."""
    try:
        key = ReportKey.parse(account, date_range, report)
    except BadRequest:
        return
    assert re.fullmatch(r"[A-Za-z0-9._:-]+ [a-z0-9_.-]+( \[[a-z0-9_]+\])?", str(key), re.ASCII)


@given(digits=st.from_regex(r"[0-9]{1,20}", fullmatch=True), date_range=st.sampled_from(sorted(PRESETS)))
def test_a_key_has_the_account_as_it_is_named(digits: str, date_range: str) -> None:
    """With spaces around it the same key, stable when parsed again; whose bare digits are is known elsewhere."""
    key = ReportKey.parse(digits, date_range)
    assert key == ReportKey.parse(f" {digits} ", f" {date_range} ") != ReportKey.parse(f"act_{digits}", date_range)
    assert key == ReportKey.parse(key.account_id, key.date_range, key.report)


def test_the_message_says_what_to_write() -> None:
    """The message shows the input, shortened, and a valid example."""
    with pytest.raises(BadRequest, match=r"account id 'x{70}' is not valid; it is up to 64 letters"):
        normalize_account_id("x" * 500)
    with pytest.raises(BadRequest, match="use lower-case letters, digits and _"):
        ReportKey.parse("1", "today", "Weekly")


def test_a_key_as_text() -> None:
    """The report is shown unless it is the default one."""
    assert str(ReportKey.parse("act_12", "last_7d")) == "act_12 last_7d"
    assert str(ReportKey.parse("act_12", "last_7d", "campaigns")) == "act_12 last_7d [campaigns]"


def test_the_hash_of_a_query() -> None:
    """Order does not matter; level, fields, attribution and breakdowns do."""
    spec = QuerySpec("ad", ("spend", "clicks"), ("7d_click", "1d_view"))
    assert spec.hash == QuerySpec("ad", ("clicks", "spend"), ("1d_view", "7d_click")).hash
    others = [
        QuerySpec("adset", spec.fields, spec.attribution_windows),
        QuerySpec("ad", ("spend",)),
        QuerySpec(),
        replace(spec, attribution="account"),
        replace(spec, attribution=""),
        replace(spec, attribution_windows=("7d_click",)),
        replace(spec, breakdowns=("age",)),
        replace(spec, breakdowns=("age", "gender")),
        replace(spec, action_breakdowns=("age",)),
    ]
    assert replace(spec, breakdowns=("gender", "age")).hash == others[-2].hash
    assert len({spec.hash, *(other.hash for other in others)}) == len(others) + 1
    assert re.fullmatch(r"[0-9a-f]{12}", spec.hash)


def test_the_entry_key_changes_at_the_accounts_midnight() -> None:
    """A report key resolves to another entry after midnight in the data zone, whatever the reader zone is."""
    account = Account("act_1", data_zone="America/New_York", reader_zone="Asia/Tokyo")
    key, spec = ReportKey.parse("act_1", "yesterday"), QuerySpec()
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
    key, spec = ReportKey.parse("act_1", "2026-01-01..2026-01-31"), QuerySpec()
    keys = {
        resolve_key(key, Account("act_1", data_zone=name), spec, datetime(year, 6, 1, tzinfo=UTC))
        for name in ("UTC", "Asia/Tokyo")
        for year in (2020, 2030)
    }
    assert keys == {EntryKey("act_1", Window(date(2026, 1, 1), date(2026, 1, 31)), spec.hash)}


def test_entry_keys_have_one_order() -> None:
    """By account, then window, then query; so two processes that write many entries lock them in the same order."""
    month, week = Window(date(2026, 1, 1), date(2026, 1, 31)), Window(date(2026, 1, 5), date(2026, 1, 11))
    keys = [EntryKey("act_1", month, "b"), EntryKey("act_1", week, "a"), EntryKey("act_1", week, "b")]
    keys.append(EntryKey("act_2", month, "a"))
    assert sorted([keys[3], keys[1], keys[2], keys[0]]) == keys


def test_an_entry_matches_by_its_window() -> None:
    """An entry stored for absolute days matches last_7d on the day they mean the same, and not a day later."""
    account, spec = Account("act_1", "America/New_York"), QuerySpec()
    fetched = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    week = EntryKey("act_1", Window(date(2026, 11, 18), date(2026, 11, 24)), spec.hash)
    key = ReportKey("act_1", "last_7d")

    assert matches_key(week, key, account, spec, fetched)
    assert not matches_key(week, key, account, spec, fetched + timedelta(days=1))


ZONES = ["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Auckland", "Pacific/Apia"]
DAYS = st.dates(date(1990, 1, 1), date(2090, 1, 1))


def _window(text: str) -> Window:
    since, until = text.split("..")
    return Window(date.fromisoformat(since), date.fromisoformat(until))


EDGES = [  # preset, today, expected
    ("today", "2026-11-25", "2026-11-25..2026-11-25"),
    ("yesterday", "2026-01-01", "2025-12-31..2025-12-31"),
    ("yesterday", "2028-03-01", "2028-02-29..2028-02-29"),
    ("last_3d", "2026-03-02", "2026-02-27..2026-03-01"),
    ("last_7d", "2026-11-25", "2026-11-18..2026-11-24"),
    ("last_14d", "2026-11-25", "2026-11-11..2026-11-24"),
    ("last_28d", "2026-11-25", "2026-10-28..2026-11-24"),
    ("last_30d", "2028-03-01", "2028-01-31..2028-02-29"),
    ("last_90d", "2026-11-25", "2026-08-27..2026-11-24"),
    ("this_week", "2026-11-23", "2026-11-23..2026-11-23"),
    ("this_week", "2026-11-29", "2026-11-23..2026-11-29"),
    ("this_week_mon_today", "2026-11-25", "2026-11-23..2026-11-25"),
    ("this_week_sun_today", "2026-11-29", "2026-11-29..2026-11-29"),
    ("this_week_sun_today", "2026-11-28", "2026-11-22..2026-11-28"),
    ("last_week", "2026-11-23", "2026-11-16..2026-11-22"),
    ("last_week", "2027-01-01", "2026-12-21..2026-12-27"),
    ("last_week_mon_sun", "2026-11-29", "2026-11-16..2026-11-22"),
    ("last_week_sun_sat", "2026-11-29", "2026-11-22..2026-11-28"),
    ("last_week_sun_sat", "2026-11-28", "2026-11-15..2026-11-21"),
    ("this_month", "2026-12-01", "2026-12-01..2026-12-01"),
    ("last_month", "2026-01-31", "2025-12-01..2025-12-31"),
    ("last_month", "2028-03-31", "2028-02-01..2028-02-29"),
    ("last_month", "2026-03-31", "2026-02-01..2026-02-28"),
    ("this_quarter", "2026-10-01", "2026-10-01..2026-10-01"),
    ("this_quarter", "2026-12-31", "2026-10-01..2026-12-31"),
    ("last_quarter", "2026-10-01", "2026-07-01..2026-09-30"),
    ("last_quarter", "2026-01-01", "2025-10-01..2025-12-31"),
    ("this_year", "2026-01-01", "2026-01-01..2026-01-01"),
    ("this_year", "2028-12-31", "2028-01-01..2028-12-31"),
    ("last_year", "2026-01-01", "2025-01-01..2025-12-31"),
    ("maximum", "2026-11-25", "2023-10-31..2026-11-25"),
    ("data_maximum", "2026-11-25", "2023-10-31..2026-11-25"),
    ("2026-02-28..2026-03-01", "2030-01-01", "2026-02-28..2026-03-01"),
]


def test_ranges_on_the_edges(subtests: pytest.Subtests) -> None:
    """Each name gives its absolute days, whatever edge today is at; every preset has a case."""
    for preset, today, expected in EDGES:
        with subtests.test(preset=preset, today=today):
            noon = datetime.fromisoformat(f"{today}T12:00:00+00:00")
            assert resolve_window(preset, "UTC", noon) == _window(expected)
    assert {preset for preset, _, _ in EDGES} >= set(PRESETS)


PLATFORMS = sorted(name for name in vars(AdsInsights.DatePreset) if not name.startswith("_"))


@given(today=DAYS)
@example(today=date(2028, 2, 29))
def test_every_preset_of_the_platform_is_a_key_and_a_window(today: date) -> None:
    """Each of the twenty presets of the SDK parses to itself, and its window is a valid range."""
    assert len(PLATFORMS) == 20
    noon = datetime.combine(today, time(12), UTC)
    for preset in PLATFORMS:
        key = ReportKey.parse("act_1", f" {preset} ")
        assert key == ReportKey.parse(*str(key).split())
        window = resolve_window(key.date_range, "UTC", noon)
        assert resolve_window(validate_date_range(str(window)), "UTC", noon) == window, preset


@given(today=DAYS)
def test_maximum_is_what_the_platform_keeps(today: date) -> None:
    """It ends today and is within 37 months, also after short months."""
    window = PRESETS["maximum"](today)
    assert (window.until, len(window)) == (today, MAX_DAYS)
    year, month = divmod(today.year * 12 + today.month - 1 - 37, 12)
    assert date(year, month + 1, min(today.day, 28)) <= window.since
    assert PRESETS["data_maximum"](today) == window


@given(today=DAYS, preset=st.sampled_from(sorted(PRESETS)))
def test_no_preset_looks_into_the_future(today: date, preset: str) -> None:
    """Windows end today at the latest; the `last_` ones end before today and have the length they name."""
    window = PRESETS[preset](today)
    assert window.until <= today
    if preset.startswith("last_"):
        assert window.until < today
    if preset.startswith("last_") and preset.endswith("d"):
        assert (len(window), window.until) == (int(preset[5:-1]), today - timedelta(days=1))


@given(today=DAYS)
def test_periods_join_without_a_gap(today: date) -> None:
    """The last period ends the day before this one starts, and starts on a valid period start."""
    for unit in ("week", "month", "quarter", "year"):
        this, last = PRESETS[f"this_{unit}"](today), PRESETS[f"last_{unit}"](today)
        assert last.until + timedelta(days=1) == this.since
        assert PRESETS[f"this_{unit}"](last.until).since == last.since


def test_the_accounts_own_midnight_moves_the_window(subtests: pytest.Subtests) -> None:
    """The window changes at midnight in the account's zone, on clock changes too."""
    for zone_name in ZONES:
        for day in ["2026-03-29", "2026-10-25", "2026-03-08", "2026-11-01", "2026-04-05", "2026-12-31"]:
            with subtests.test(zone_name=zone_name, day=day):
                midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone_name)).astimezone(UTC)
                new = date.fromisoformat(day)
                assert resolve_window("today", zone_name, midnight) == Window(new, new)
                assert resolve_window("yesterday", zone_name, midnight).until == new - timedelta(days=1)
                before = resolve_window("today", zone_name, midnight - timedelta(seconds=1))
                assert before.until == new - timedelta(days=1)


@given(
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)), hours=st.integers(-12, 12)
)
def test_the_zone_of_the_time_does_not_matter(moment: datetime, hours: int) -> None:
    """The same time in another zone, or without one, gives the same window."""
    written = moment.astimezone(ZoneInfo(f"Etc/GMT{hours:+d}"))
    for name in ("last_7d", "this_month"):
        expected = resolve_window(name, "Asia/Tokyo", moment)
        assert resolve_window(name, "Asia/Tokyo", written) == expected
        assert resolve_window(name, "Asia/Tokyo", moment.replace(tzinfo=None)) == expected


def test_days_of_23_and_25_hours_are_one_day() -> None:
    """Clock changes neither skip nor repeat a day."""
    for start in (datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)):
        hours = [local_day(start + timedelta(hours=hour), "Europe/Berlin") for hour in range(72)]
        days = sorted(set(hours))
        assert hours == sorted(hours)
        assert all(later - earlier == timedelta(days=1) for earlier, later in pairwise(days))
        assert {23, 25} & {hours.count(day) for day in days}


def test_a_day_that_a_zone_skipped() -> None:
    """Samoa had no 30 December 2011; windows there skip it."""
    before = datetime(2011, 12, 30, 9, 59, tzinfo=UTC)
    assert local_day(before, "Pacific/Apia") == date(2011, 12, 29)
    assert local_day(before + timedelta(minutes=1), "Pacific/Apia") == date(2011, 12, 31)


def test_the_days_of_a_window() -> None:
    """Both ends are included."""
    window = _window("2026-02-27..2026-03-02")
    assert len(window) == 4
    assert list(window.days()) == [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1), date(2026, 3, 2)]
    assert date(2026, 3, 2) in window
    assert date(2026, 3, 3) not in window
    assert str(window) == "2026-02-27..2026-03-02"
    assert _window("2026-02-26..2026-03-05") < _window("2026-02-27..2026-03-01") < window


def test_a_window_in_the_wrong_order_is_refused() -> None:
    """The message says to swap the days."""
    with pytest.raises(BadRequest, match="swap the two days"):
        Window(date(2026, 3, 2), date(2026, 3, 1))
    with pytest.raises(BadRequest, match="swap the two days"):
        validate_date_range("2026-03-02..2026-03-01")


def test_an_unknown_range_lists_the_presets(subtests: pytest.Subtests) -> None:
    """The message names the presets."""
    for text in ["last_8d", "", "TODAY", "2026-3-1..2026-03-02", "2026-01-01", "2026-01-01..", "../x"]:
        with (
            subtests.test(text=text),
            pytest.raises(BadRequest, match=r"neither YYYY-MM-DD\.\.YYYY-MM-DD nor one of today, yesterday, last_3d"),
        ):
            validate_date_range(text)


def test_a_day_that_does_not_exist_is_refused(subtests: pytest.Subtests) -> None:
    """The day is not in the calendar, or not written in plain digits."""
    for text in ["2026-02-30..2026-03-01", "0000-01-01..2026-01-01", "٢٠٢٦-01-01..2026-01-02"]:
        with subtests.test(text=text), pytest.raises(BadRequest, match="date range"):
            validate_date_range(text)


def test_an_unknown_zone_is_refused(subtests: pytest.Subtests) -> None:
    """Invalid names, paths among them, open no file; the message says what to write."""
    for name in ["Mars/Olympus", "", "../../etc/passwd", "/etc/passwd", "Europe", "UTC\0", "x" * 300]:
        with subtests.test(name=name), pytest.raises(BadRequest, match="use an IANA name such as Europe/Berlin"):
            zone(name)


def test_a_date_range_is_a_preset_or_two_days(subtests: pytest.Subtests) -> None:
    """Every preset and two days pass unchanged; anything else is refused."""
    for text in [*PRESETS, "2026-01-31..2026-12-01"]:
        with subtests.test(text=text):
            assert validate_date_range(text) == text
    for text in [
        "",
        "last_8d",
        "Last_7d",
        " last_7d",
        "last_7d,today",
        "2026-13-01..2026-12-01",
        "2026-01-32..2026-02-01",
        "2026-01-01",
    ]:
        with subtests.test(text=text), pytest.raises(BadRequest):
            validate_date_range(text)


@given(DAYS, st.integers(-3, MAX_DAYS + 3), st.integers(-3, MAX_DAYS + 3))
@example(date(2028, 2, 29), 0, MAX_DAYS - 1)
@example(date(2028, 2, 29), 0, MAX_DAYS)
@example(date(2028, 2, 29), -1, 0)
def test_only_days_that_the_platform_has_are_served(today: date, newest_age: int, oldest_age: int) -> None:
    """An absolute range is served exactly when it ends today or earlier and starts within the days that are kept."""
    since, until = (
        today - timedelta(days=max(newest_age, oldest_age)),
        today - timedelta(days=min(newest_age, oldest_age)),
    )
    text = f"{since}..{until}"
    if since >= _window_of_all(today).since and until <= today:
        assert check_served(text, today) == text
    else:
        with pytest.raises(BadRequest, match=r"future|oldest day"):
            check_served(text, today)


def _window_of_all(today: date) -> Window:
    return PRESETS["maximum"](today)


def test_presets_are_always_served(subtests: pytest.Subtests) -> None:
    """A preset never reaches beyond what the platform keeps."""
    for preset in PRESETS:
        with subtests.test(preset=preset):
            assert check_served(preset, date(2026, 12, 31)) == preset
            assert PRESETS[preset](date(2026, 12, 31)).since >= _window_of_all(date(2026, 12, 31)).since


NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
TODAY = date(2026, 11, 25)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def test_freshness_follows_the_newest_day(subtests: pytest.Subtests) -> None:
    """3 h today, 6 h yesterday, a day up to a week, a week up to 28 days, then forever, whatever the first day is."""
    for age, life in [
        (-1, 3 * HOUR),
        (0, 3 * HOUR),
        (1, 6 * HOUR),
        (2, DAY),
        (7, DAY),
        (8, 7 * DAY),
        (28, 7 * DAY),
        (29, None),
    ]:
        with subtests.test(age=age, life=life):
            until = TODAY - age * DAY
            expected = None if life is None else NOON + life
            assert expires_at(Window(until, until), "UTC", NOON) == expected
            assert expires_at(Window(until - 90 * DAY, until), "UTC", NOON) == expected


def test_the_age_is_counted_in_the_accounts_zone() -> None:
    """At noon UTC it is already tomorrow in Auckland, which is 13 hours ahead in summer."""
    window = Window(TODAY, TODAY)
    assert expires_at(window, "UTC", NOON) == NOON + 3 * HOUR
    assert expires_at(window, "Pacific/Auckland", NOON) == NOON + 6 * HOUR


def test_the_rules_can_be_changed() -> None:
    """Every duration is a parameter."""
    rules = FreshnessRules(today=HOUR, yesterday=2 * HOUR, week=3 * HOUR, settling=4 * HOUR, settle_days=10)
    found = [expires_at(Window(TODAY - age * DAY, TODAY - age * DAY), "UTC", NOON, rules) for age in (0, 1, 5, 10, 11)]
    assert found == [NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR, NOON + 4 * HOUR, None]


@given(age=st.integers(0, 60), older=st.integers(0, 30))
def test_older_data_is_never_fresh_for_less(age: int, older: int) -> None:
    """The duration never decreases with age, and final data stays final."""
    rules = FreshnessRules()
    young, old = rules.max_age(age), rules.max_age(age + older)
    assert old is None or (young is not None and young <= old)


@given(age=st.integers(-2, 60), zone_name=st.sampled_from(["UTC", "Asia/Tokyo", "America/Los_Angeles"]))
def test_settled_data_never_expires(age: int, zone_name: str) -> None:
    """A day is settled exactly when its entry never expires."""
    day = TODAY - age * DAY
    assert is_settled(day, zone_name, NOON) is (expires_at(Window(day, day), zone_name, NOON) is None)


def test_a_day_settles_after_28_days_by_the_fetch() -> None:
    """The time of the fetch decides, at the account's midnight."""
    day = date(2026, 10, 27)
    midnight = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
    assert not is_settled(day, "America/Los_Angeles", midnight - timedelta(seconds=1))
    assert is_settled(day, "America/Los_Angeles", midnight)


@given(
    st.integers(-2, 40),
    st.integers(1, 40),
    st.lists(st.integers(1, 200), min_size=4, max_size=4),
    st.integers(2, 12),
)
def test_days_fetched_together_are_fresh_as_long_as_the_shortest(
    newest: int, days: int, hours: list[int], daily_days: int
) -> None:
    """Whatever the lives of the ages are, the first of the days to end counts; settled days never end."""
    lives = [timedelta(hours=value) for value in hours]
    rules = FreshnessRules(*lives, settle_days=28, daily_days=daily_days)
    ends = [end for age in range(newest, newest + days) if (end := rules.max_age(age)) is not None]
    assert rules.lifetime(newest, days) == min(ends, default=None)
