"""Values are validated once and keep their code."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log import dictionary_columns
from adwarm.access_log.dictionary_columns import REJECTED
from adwarm.access_log.events import date_range_reader
from adwarm.model import find_account_id

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner), max_leaves=3
)


@given(st.lists(ANYTHING))
def test_nothing_in_a_column_of_accounts_raises(values: list[object]) -> None:
    """Any JSON value is an account id or is rejected; codes belong to valid ids only."""
    accounts = dictionary_columns.account_encoder()
    codes = accounts.encode(values)
    assert len(codes) == len(values)
    ids = accounts.to_arrow(codes[codes != REJECTED])
    ids.validate(full=True)
    assert all(find_account_id(account_id) == account_id for account_id in ids.to_pylist())


def test_spellings_of_an_account_share_a_code() -> None:
    """Text with or without the prefix and whole numbers mean the same account; true and null are none."""
    same = ["act_1", "1", 1, " act_1 ", 1.0, "1.0", "'1", "ACT_1", "1E+0"]
    accounts = dictionary_columns.account_encoder()
    assert accounts.encode(same).tolist() == [0] * len(same)
    assert accounts.encode([True, 1.5, 2.0**53, float("nan"), "null", "None"]).tolist() == [REJECTED] * 6
    assert len({*accounts.encode(["T2_ABC", "t2_abc", "1e5", "18e54", 100000])}) == 5


def test_an_id_that_a_spreadsheet_rounded_is_no_account(subtests: pytest.Subtests) -> None:
    """A number in scientific notation is an id only when it shows every digit; a guess would name another account."""
    for text, account in [
        ("1234567890123456.0", "act_1234567890123456"),
        ("1.234567890123456E+15", "act_1234567890123456"),
        ("1.23456789012345E+15", None),
        ("1.23457E+15", None),
        ("1.2300E+2", "act_123"),
        ("1.2345E+2", None),
    ]:
        with subtests.test(text=text, account=account):
            accounts = dictionary_columns.account_encoder()
            code = accounts.encode([text])
            assert code.tolist() == ([REJECTED] if account is None else [0])
            assert account is None or accounts.to_arrow(code).to_pylist() == [account]


def test_a_column_of_numbers_holds_accounts() -> None:
    """A Parquet column of integers, or of floats with nulls as pandas writes it, holds account ids."""
    accounts = dictionary_columns.account_encoder()
    ids = [1_234_567_890_123_456, None]
    for kind in (pa.int64(), pa.float64()):
        assert accounts.encode_column(pa.array(ids, kind)).tolist() == [0, REJECTED]


@pytest.mark.parametrize("values", [["Mars/Olympus", None, "", "../../etc/passwd", "Europe/Berlin"]])
def test_an_unknown_zone_is_empty_and_never_an_error(values: list[str | None]) -> None:
    """A line is not rejected for its time zone."""
    zones = dictionary_columns.time_zone_encoder()
    assert zones.to_arrow(zones.encode(values)).to_pylist() == ["", "", "", "", "Europe/Berlin"]


def test_an_unknown_actor_is_human() -> None:
    """A line is not rejected for its actor."""
    actors = dictionary_columns.actor_encoder()
    assert actors.to_arrow(actors.encode(["api", "robot", None, 7])).to_pylist() == [
        "api",
        "human",
        "human",
        "human",
    ]


def test_a_report_must_be_configured() -> None:
    """A missing report is the default one; a report that is not in the settings is rejected."""
    reports = dictionary_columns.report_encoder(["default", "video"])
    codes = reports.encode([None, "", "video", "nope"])
    assert codes[3] == REJECTED
    assert reports.to_arrow(codes[:3]).to_pylist() == ["default", "default", "video"]


def test_dictionary_columns_are_coded_by_their_dictionary() -> None:
    """Nulls and repeated values of an Arrow column get the same codes as single values."""
    ranges = dictionary_columns.date_range_encoder(date_range_reader({}))
    column = pa.array(["today", None, "last_7d", "today", "nope"]).dictionary_encode()
    assert ranges.encode_column(column).tolist() == [0, REJECTED, 1, 0, REJECTED]
    assert ranges.encode_column(pa.array(["last_7d"])).tolist() == [1]


def test_an_index_beyond_the_dictionary_is_damage(subtests: pytest.Subtests) -> None:
    """A damaged index gives an Arrow error, not another value."""
    for place in [3, 2**31 - 1, -1]:
        with subtests.test(place=place):
            places = pa.Array.from_buffers(pa.int32(), 2, [None, pa.py_buffer(np.array([0, place], np.int32))])
            column = pa.DictionaryArray.from_arrays(places, pa.array(["1", "2"]), safe=False)
            with pytest.raises(pa.ArrowInvalid, match="does not exist"):
                dictionary_columns.account_encoder().encode_column(column)


def test_a_value_that_is_not_text_is_missing_or_rejected(subtests: pytest.Subtests) -> None:
    """As a zone or an actor it counts as missing; as an account or a report it is rejected."""
    for value in [["api"], {"a": 1}, 1.5, True, 10**30]:
        with subtests.test(value=value):
            zones, actors = dictionary_columns.time_zone_encoder(), dictionary_columns.actor_encoder()
            assert zones.to_arrow(zones.encode([value])).to_pylist() == [""]
            assert actors.to_arrow(actors.encode([value])).to_pylist() == ["human"]
            for needed in (
                dictionary_columns.account_encoder(),
                dictionary_columns.date_range_encoder(date_range_reader({})),
                dictionary_columns.report_encoder(["default"]),
            ):
                assert needed.encode([value]).tolist() == [REJECTED]
