"""Timestamps in every notation give the same microseconds."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log.timestamps import (
    INVALID,
    TimestampRules,
    from_micros,
    parse_column,
    parse_log_time,
    parse_values,
    to_micros,
)

AT = datetime(2026, 3, 8, 7, 30, 15, tzinfo=UTC)
MICROS = to_micros(AT)


def test_every_spelling_of_a_moment_is_understood(subtests: pytest.Subtests) -> None:
    """Epoch numbers of any unit and ISO text with or without a zone mean the same time."""
    for value in [
        "2026-03-08T07:30:15Z",
        "2026-03-08 07:30:15",
        "2026-03-08T02:30:15-05:00",
        "2026-03-08T07:30:15.000000+00:00",
        int(AT.timestamp()),
        int(AT.timestamp() * 1000),
        MICROS,
        MICROS * 1000,
        AT.timestamp(),
        str(int(AT.timestamp())),
        str(int(AT.timestamp() * 1000)),
        f"{AT.timestamp():.3f}",
        "2026-03-08 07:30:15 UTC",
        "2026/03/08 07:30:15",
        "08/Mar/2026:02:30:15 -0500",
        "[08/Mar/2026:07:30:15 +0000]",
        "Sun, 08 Mar 2026 07:30:15 GMT",
    ]:
        with subtests.test(value=value):
            assert parse_values([value]).tolist() == [MICROS]
            assert parse_values([value, None]).tolist() == [MICROS, INVALID]


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2099, 12, 31)),
    st.sampled_from(["+0000", "-0500", "+0545", "+01:00", "Z", "0100", ""]),
    st.sampled_from([
        "%d/%b/%Y:%H:%M:%S",
        "%d/%b/%Y:%H:%M:%S.%f",
        "%d/%b/%Y:%H:%M",
        "%d/%m/%Y:%H:%M:%S",
        "%d/%b/%y:%I:%M:%S",
    ]),
)
def test_the_time_of_a_web_server_is_what_the_standard_library_reads(at: datetime, offset: str, form: str) -> None:
    """Reading the hour once and the rest of it from a table changes nothing, for other notations neither."""
    text = f"{at:{form}} {offset}"
    try:
        expected = to_micros(datetime.strptime(text, "%d/%b/%Y:%H:%M:%S %z"))
    except ValueError:
        expected = None
    assert parse_log_time(text) == expected


def test_what_is_no_time_of_a_web_server_is_none(subtests: pytest.Subtests) -> None:
    """Short, long and impossible ones."""
    for text in ["", "x" * 15, "x" * 40, "08/Mar/2026:02:30:60 +0000", "08/Mar/2026:25:30:10 +0000"]:
        with subtests.test(text=text):
            assert parse_log_time(text) is None


def test_what_is_no_moment_of_a_log_is_bad(subtests: pytest.Subtests) -> None:
    """Nothing raises: a value that cannot be a time of an access log becomes INVALID."""
    for value in [
        None,
        "",
        "yesterday",
        True,
        [],
        {},
        float("nan"),
        float("inf"),
        10**30,
        -5,
        0,
        "1",
        "9" * 5000,
        "2026-13-01",
        "1970-01-01",
    ]:
        with subtests.test(value=value):
            assert parse_values([value]).tolist() == [INVALID]


def test_one_bad_text_leaves_the_others_alone() -> None:
    """A column with one invalid text still yields the valid times, with and without a zone."""
    found = parse_values(["2026-03-08T07:30:15Z", "nonsense", "2026-03-08T07:30:15"])
    assert found.tolist() == [MICROS, INVALID, MICROS]


@given(st.datetimes(datetime(1991, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)))
def test_moments_survive_the_round_trip(moment: datetime) -> None:
    """Microseconds lose nothing, and ISO text of any time is read exactly."""
    assert from_micros(to_micros(moment)) == moment
    assert parse_values([moment.isoformat()]).tolist() == [to_micros(moment)]


def test_arrow_columns_of_every_type_are_understood(subtests: pytest.Subtests) -> None:
    """Timestamps of any unit and zone, numbers and text in a columnar log mean the same; null is invalid."""
    for column in [
        pa.array([AT, None], pa.timestamp("ns", "UTC")),
        pa.array([AT, None], pa.timestamp("s", "Europe/Berlin")),
        pa.array([AT.replace(tzinfo=None), None], pa.timestamp("ms")),
        pa.array([int(AT.timestamp()), None], pa.int64()),
        pa.array(["2026-03-08T07:30:15Z", None], pa.string()),
    ]:
        with subtests.test(column=column):
            assert parse_column(column).tolist() == [MICROS, INVALID]


def test_a_column_of_days_is_read_as_midnights() -> None:
    """A date means its midnight in UTC."""
    day = date(2026, 3, 8)
    found = parse_column(pa.array([day], pa.date32()))
    assert from_micros(int(found[0])) == datetime(2026, 3, 8, tzinfo=UTC) + timedelta(0)


BERLIN = TimestampRules("Europe/Berlin")


def test_a_time_without_a_zone_is_in_the_zone_of_the_rules(subtests: pytest.Subtests) -> None:
    """Text, Python and Arrow times without a zone are local; those with one, and numbers, are not."""
    for value in [
        "2026-03-08 08:30:15",
        "2026-03-08T07:30:15Z",
        datetime(2026, 3, 8, 8, 30, 15),
        AT,
        MICROS,
        "2026-03-08T08:30:15.0",
    ]:
        with subtests.test(value=value):
            assert parse_values([value], BERLIN).tolist() == [MICROS]
            assert parse_values([value, "nonsense"], BERLIN).tolist() == [MICROS, INVALID]
            if isinstance(value, datetime):
                kind = pa.timestamp("us", "UTC" if value.tzinfo else None)
                assert parse_column(pa.array([value, None], kind), BERLIN).tolist() == [MICROS, INVALID]


@given(st.datetimes(datetime(1995, 1, 1), datetime(2037, 1, 1)))
def test_local_times_are_those_of_the_standard_library(local: datetime) -> None:
    """Whole columns are converted as single values are, also around a change of the clocks."""
    column = parse_column(pa.array([local], pa.timestamp("us")), BERLIN).tolist()
    assert column == parse_values([local], BERLIN).tolist() == parse_values([local.isoformat()], BERLIN).tolist()


def test_a_format_is_tried_first() -> None:
    """A format resolves what is ambiguous; other notations are still read."""
    rules = TimestampRules("Europe/Berlin", "%d/%m/%Y %H:%M:%S")
    values = ["08/03/2026 08:30:15", "2026-03-08T07:30:15Z", "03/28/2026 00:00:00"]
    assert parse_values(values, rules).tolist() == [MICROS, MICROS, INVALID]
