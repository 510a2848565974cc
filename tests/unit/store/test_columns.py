"""Values as rows by the names of columns, and members of enums as text."""

from dataclasses import dataclass
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Engine, text

from adwarm.model import EntryKey, Mode, Priority, ReportKey, WarmReason, WarmStatus, Window
from adwarm.store.columns import EnumText, columns_of, from_row, to_row
from adwarm.store.database import insert_new, read_transaction, write_transaction
from adwarm.store.partitions import PartitionState
from adwarm.store.partitions import table as partition
from adwarm.store.payloads import table as payload
from adwarm.store.warms import table as warm

NOW = datetime(2026, 3, 8, tzinfo=UTC)
KEY = EntryKey("act_1", Window(date(2026, 3, 1), date(2026, 3, 7)), "abc")


@dataclass(frozen=True)
class _Value:
    key: ReportKey
    status: WarmStatus
    reads: int = 0


def test_a_value_is_a_row_of_its_fields() -> None:
    """A key or window has a column for each part; what is left out is not in the row, so its column does not change."""
    assert to_row(_Value(ReportKey("act_1", "last_7d"), WarmStatus.FRESH), without=("reads",)) == {
        "account_id": "act_1",
        "date_range": "last_7d",
        "report": "default",
        "status": WarmStatus.FRESH,
    }
    assert list(to_row(KEY).values()) == ["act_1", date(2026, 3, 1), date(2026, 3, 7), "abc"]


def test_a_row_is_a_value_again(engine: Engine) -> None:
    """Fields are found by name in any order of the columns; others may be given, and further columns are left out."""
    query = text("SELECT 7 AS reads, 'abc' AS spec_hash, 'last_7d' AS date_range, 'x' AS report, 'act_1' AS account_id")
    with read_transaction(engine) as connection:
        row = connection.execute(query).one()
    expected = _Value(ReportKey("act_1", "last_7d", "x"), WarmStatus.CUT, 7)
    assert from_row(_Value, row, status=WarmStatus.CUT) == expected
    with pytest.raises(KeyError, match="status"):
        from_row(_Value, row)


def test_columns_of_a_value_are_in_its_order() -> None:
    """So that a row of them makes the value by position; a field without a column is an error."""
    names = [column.name for column in columns_of(PartitionState, partition)]
    assert names == list(PartitionState.__dataclass_fields__)
    with pytest.raises(KeyError):
        columns_of(PartitionState, payload)


@pytest.mark.parametrize(
    ("column", "member", "stored"), [("status", WarmStatus.SHADOW, "shadow"), ("priority", Priority.LOW, "low")]
)
def test_a_member_of_an_enum_is_stored_as_text(engine: Engine, column: str, member: object, stored: str) -> None:
    """The database holds plain text, by which SQL of others can select; a read returns the member."""
    assert isinstance(warm.c[column].type, EnumText)
    with write_transaction(engine) as connection:
        values = {"run_id": "dag/1", "decided_at": NOW, "reason": WarmReason.REQUEST, "mode": Mode.LIVE, column: member}
        insert_new(connection, warm, [{**to_row(ReportKey("act_1", "last_7d")), **values}])
    with read_transaction(engine) as connection:
        assert connection.execute(text(f"SELECT {column} FROM warm")).scalar_one() == stored
        for value in (member, stored):
            row = connection.execute(warm.select().where(warm.c[column] == value)).one()
            assert row._mapping[column] is member
        assert connection.execute(warm.select().where(warm.c[column] == "no member")).one_or_none() is None
