"""Requests that are too large are split until they fit, and data that cannot be read at all is isolated."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.compression import Document, unpack_document
from adwarm.foundation.errors import TooMuchData
from adwarm.model import EntryKey, QuerySpec, Row, Window
from adwarm.prefetch.fetch_result import FetchResult, RowBuffer
from adwarm.prefetch.fetcher import MAX_SPLIT_REQUESTS, Fetcher
from adwarm.sources.protocol import Capabilities, FetchUnit, Increment
from adwarm.sources.units import filtered_objects, split_by_ids, split_by_time
from adwarm.store import entries, partitions
from tests.unit.prefetch.conftest import LONG_WINDOW, PlatformHarness

MONTH = Window(date(2026, 10, 26), date(2026, 11, 24))
FIELDS = ("ad_id", "ad_name", "spend", "clicks", "reach", "impressions")
UNIT = FetchUnit("act_1", (Window(date(2026, 11, 1), date(2026, 11, 8)),), Increment.DAY, QuerySpec(fields=FIELDS))


class Model:
    """A platform defined by rules: which (day, ad, field) cannot be computed, and how many cells are too many."""

    def __init__(self, ads: int, bad: set[tuple[int | None, int | None, str | None]], most: int = 10**9) -> None:
        self.ads, self.bad, self.most = ads, bad, most
        self.requests: list[FetchUnit] = []
        self.capabilities = Capabilities(can_list_objects=True)

    def cells(self, unit: FetchUnit) -> list[tuple[date, int, str]]:
        """Return what a unit covers."""
        level, ids = filtered_objects(unit)
        out = {int(i) for name, how, text in unit.filters if how == "NOT_IN" for i in text.split(",")}
        named = [ad for ad in range(self.ads) if self.is_named(ad, level, ids) and ad not in out]
        fields = ["ad_id", *(name for name in unit.spec.fields if not name.endswith(("_id", "_name")))]
        return [(day, ad, name) for window in unit.windows for day in window.days() for ad in named for name in fields]

    def is_named(self, ad: int, level: str, ids: list[str]) -> bool:
        """Whether a unit covers an ad: four to a campaign, two to an ad set."""
        per = {"campaign": 4, "adset": 2, "ad": 1}.get(level, 0)
        return not level or str(ad // per) in ids

    def is_bad(self, cell: tuple[date, int, str]) -> bool:
        """Whether a cell cannot be computed."""
        day, ad, name = cell
        return any(d in {None, day.day} and a in {None, ad} and f in {None, name} for d, a, f in self.bad)

    def ask(self, unit: FetchUnit) -> FetchResult:
        """Respond, or raise for the whole unit."""
        self.requests.append(unit)
        cells = self.cells(unit)
        if len(cells) > self.most or any(map(self.is_bad, cells)):
            raise TooMuchData("too much")
        rows: dict[tuple[date, int], Row] = {}
        for day, ad, name in cells:
            row = rows.setdefault((day, ad), {"date_start": str(day), "date_stop": str(day), "ad_id": str(ad)})
            row[name] = str(ad)
        return FetchResult(RowBuffer(("ad_id",), rows.values()), unit.windows)

    def split(self, unit: FetchUnit) -> list[FetchUnit]:
        """Return smaller units."""
        return split_by_time(unit) or split_by_ids(unit)

    def listed(self, unit: FetchUnit, level: str) -> list[str]:
        """List the objects of a level that a unit covers."""
        above, ids = filtered_objects(unit)
        per = {"campaign": 4, "adset": 2, "ad": 1}[level]
        return sorted({str(ad // per) for ad in range(self.ads) if self.is_named(ad, above, ids)}, key=int)

    def fetch(self, unit: FetchUnit) -> FetchResult:
        """Fetch a unit of this platform, split where necessary."""
        return ModelFetcher(self).fetch(unit)


class ModelFetcher(Fetcher):
    """Fetches whole units and ids from a model, without a call."""

    source: Any = None

    def __init__(self, model: Model) -> None:
        super().__init__(None, None, None)  # type: ignore[arg-type]
        self.source, self.fetch_whole, self.list_object_ids = model, model.ask, model.listed  # type: ignore[method-assign]


def cells_of(rows: list[Row]) -> set[tuple[str, str, str]]:
    """Return every metric that was read."""
    return {(row["date_start"], row["ad_id"], name) for row in rows for name in row if name in FIELDS[2:]}


bad_things = st.sets(
    st.one_of(
        st.tuples(st.none(), st.integers(0, 9), st.none()),
        st.tuples(st.integers(1, 8), st.integers(0, 9), st.none()),
        st.tuples(st.none(), st.none(), st.sampled_from(FIELDS[2:])),
    ),
    max_size=2,
)


@given(st.integers(1, 10), bad_things, st.sampled_from([10**9, 60, 12]))
def test_everything_that_can_be_read_is_read(
    ads: int, bad: set[tuple[int | None, int | None, str | None]], most: int
) -> None:
    """Whatever ads and fields fail: no wrong or duplicate metric, all others complete, the missing ones described."""
    model = Model(ads, bad, most)
    try:
        result = model.fetch(UNIT)
    except TooMuchData:
        raise AssertionError("two bad things in eight days of ten ads are never too much") from None
    keys = [(row["date_start"], row["ad_id"]) for row in result.rows.rows()]
    assert len(keys) == len(set(keys))
    lost_ads = {gap.id for gap in result.missing if gap.level == "ad"}
    lost_fields = {gap.id for gap in result.missing if gap.level == "field"}
    whole = {
        (str(day), str(ad), name)
        for day, ad, name in model.cells(UNIT)
        if name != "ad_id" and not model.is_bad((day, ad, name))
    }
    arrived = cells_of(list(result.rows.rows()))
    assert arrived <= whole
    assert {cell for cell in whole - arrived if cell[1] not in lost_ads and cell[2] not in lost_fields} == set()
    assert lost_ads <= {str(ad) for _, ad, _ in bad if ad is not None}
    assert lost_fields <= {name for _, _, name in bad if name}
    assert len(model.requests) < 250


def test_one_bad_ad_costs_few_requests() -> None:
    """It is isolated once; every later request excludes it, and tries it separately only once."""
    model = Model(10, {(None, 7, None)})
    result = model.fetch(replace(UNIT, windows=(Window(date(2026, 11, 1), date(2026, 11, 30)),)))
    assert {gap.id for gap in result.missing} == {"7"}
    assert len(result.rows) == 9 * 30
    assert len(model.requests) < 35


def test_equal_responses_give_equal_requests() -> None:
    """A fetch that starts over sends the same requests, so remembered results cost nothing."""
    model = Model(8, {(None, 3, None), (4, 6, None)})
    model.fetch(UNIT)
    first = list(model.requests)
    model.fetch(UNIT)
    assert model.requests[len(first) :] == first


def test_a_unit_that_never_fits_fails() -> None:
    """A unit of which nothing can be read raises its own error; too many smaller requests fail as well."""
    with pytest.raises(TooMuchData, match="too much"):
        Model(3, {(None, None, None)}).fetch(replace(UNIT, spec=replace(UNIT.spec, level="account")))
    every_other = {(None, ad, None) for ad in range(0, 80, 2)}
    with pytest.raises(TooMuchData, match="cannot be read"):
        Model(80, every_other).fetch(UNIT)
    long = replace(UNIT, windows=(Window(date(2024, 1, 1), date(2026, 6, 1)),))
    with pytest.raises(TooMuchData, match=str(MAX_SPLIT_REQUESTS)):
        Model(4, set(), most=16).fetch(long)


def statuses(report: Any) -> list[str]:
    """Return how each key ended."""
    return [str(outcome.status) for outcome in report.outcomes]


def document_of(staging: PlatformHarness, window: Window) -> Document:
    """Return the stored document for a window."""
    spec = staging.prefetch.settings.spec("default").hash
    result = entries.find(staging.prefetch.engine, EntryKey("act_1", window, spec))
    assert result is not None
    return unpack_document(result[1], staging.prefetch.settings.compression)


@pytest.mark.parametrize(
    ("span", "window"), [("2026-10-26..2026-11-24", MONTH), ("2026-10-01..2026-11-24", LONG_WINDOW)]
)
def test_a_failing_ad_is_isolated(staging: PlatformHarness, span: str, window: Window) -> None:
    """All other rows are the platform's, at once and as a report; the ad is named with its reason, in its days too."""
    staging.set_faults(poison=[{"account": "act_1", "slot": 2}])
    report = staging.run("act_1", "act_2", span=span)
    assert statuses(report) == ["fetched"] * 2
    reason = str(report.outcomes[0].reason)
    assert report.outcomes[1].reason is None
    truth = staging.expected_rows("act_1", window)
    poison = {row["ad_id"] for row in truth if row["ad_id"][9:13] == "0002"}
    assert poison
    assert all(f"ad {ad}: Meta:" in reason for ad in poison)
    assert staging.stored_rows("act_1", window) == [row for row in truth if row["ad_id"] not in poison]
    assert staging.stored_rows("act_2", window) == staging.expected_rows("act_2", window)
    document = document_of(staging, window)
    assert (document.header.complete, document.header.missing) == (False, reason)
    assert {row["ad_id"] for row in document.window_table.to_rows()} == {row["ad_id"] for row in truth} - poison
    assert len([call for call in staging.calls() if call.account == "act_1" and call.route != "account"]) < 90
    assert statuses(staging.run("act_1", span=span)) == ["fresh"]


def test_a_failing_field_is_left_out(staging: PlatformHarness) -> None:
    """Every row is read without the field that cannot be computed, which is named."""
    staging.set_faults(poison=[{"account": "act_1", "field": "cpm"}])
    report = staging.run("act_1", span="2026-10-26..2026-11-24")
    assert statuses(report) == ["fetched"]
    assert "field cpm: Meta:" in str(report.outcomes[0].reason)
    expected = [
        {name: value for name, value in row.items() if name != "cpm"} for row in staging.expected_rows("act_1", MONTH)
    ]
    assert staging.stored_rows("act_1", MONTH) == expected


def test_stored_rows_fill_a_gap(staging: PlatformHarness) -> None:
    """An ad that was read yesterday and fails today keeps yesterday's rows; only its new days are missing."""
    staging.run("act_1", span="2026-11-18..2026-11-24")
    before = [row for row in staging.stored_rows("act_1") if row["ad_id"][9:13] == "0001"]
    assert before
    staging.clock.sleep(86_400 * 2)
    staging.set_faults(poison=[{"slot": 1}])
    report = staging.run("act_1", span="2026-11-18..2026-11-24")
    assert statuses(report) == ["fetched"]
    assert [row for row in staging.stored_rows("act_1") if row["ad_id"][9:13] == "0001"] == before
    again = staging.expected_rows("act_1", Window(date(2026, 11, 18), date(2026, 11, 24)))
    others = [row for row in staging.stored_rows("act_1") if row["ad_id"][9:13] != "0001"]
    assert others == [row for row in again if row["ad_id"][9:13] != "0001"]
    window = Window(date(2026, 11, 18), date(2026, 11, 24))
    assert "0001" in {row["ad_id"][9:13] for row in document_of(staging, window).window_table.to_rows()}


def test_a_day_remembers_its_missing_data(staging: PlatformHarness) -> None:
    """Entries built later from the same days say what is missing too."""
    staging.set_faults(poison=[{"slot": 2}])
    staging.run("act_1", span="2026-11-01..2026-11-24")
    staging.set_faults()
    spec = staging.prefetch.settings.spec("default").hash
    states = partitions.list_states(
        staging.prefetch.engine, "act_1", spec, Window(date(2026, 11, 1), date(2026, 11, 24))
    )
    assert all(state.missing and state.complete for state in states.values())
    staging.run("act_1", span="2026-11-10..2026-11-20")
    assert document_of(staging, Window(date(2026, 11, 10), date(2026, 11, 20))).header.complete is False


def test_a_failing_ad_is_isolated_once_and_may_recover(staging: PlatformHarness) -> None:
    """The next refresh excludes it from the start and tries it separately: one more call, until it can be read."""
    staging.set_faults(poison=[{"slot": 2}])
    staging.run("act_1", span="last_7d")
    for day in range(2):
        staging.clock.sleep(86_400)
        before = len(staging.calls())
        if day == 1:
            staging.set_faults()
        assert statuses(staging.run("act_1", span="last_7d")) == ["fetched"]
        assert sum(call.path != "account" for call in staging.calls()[before:]) == 2
    week = Window(date(2026, 11, 20), date(2026, 11, 26))
    assert staging.stored_rows("act_1", week) == staging.expected_rows("act_1", week)
    assert document_of(staging, week).header.missing is None


def test_too_many_rows_are_split_at_once(staging: PlatformHarness) -> None:
    """A platform that limits rows gets smaller requests: no wait, no report, no smaller page."""
    staging.set_faults(size={"sync_rows": 40})
    before = staging.clock.now()
    assert statuses(staging.run("act_1", span="2026-10-26..2026-11-24")) == ["fetched"]
    assert staging.stored_rows("act_1", MONTH) == staging.expected_rows("act_1", MONTH)
    assert staging.calls("submit") == []
    assert staging.clock.now() - before < timedelta(seconds=1)


def test_a_day_that_is_too_large_is_split_by_ads(make_staging: Callable[..., PlatformHarness]) -> None:
    """Below a single day campaigns, ad sets and ads split it, ended ads included."""
    staging = make_staging({"ads": 20})
    staging.set_faults(size={"sync_rows": 3, "async_rows": 3})
    day = Window(date(2026, 11, 3), date(2026, 11, 3))
    assert statuses(staging.run("act_1", span="2026-11-03..2026-11-03")) == ["fetched"]
    truth = staging.expected_rows("act_1", day)
    assert staging.stored_rows("act_1", day) == truth
    today = staging.clock.now().date()
    ended = {truth.ad_id for truth in staging.server.state.dataset.truths("act_1", day.since) if truth.ended < today}
    assert ended & {row["ad_id"] for row in truth}
