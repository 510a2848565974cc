"""Values as rows by the names of columns, and members of enums as text."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

import pytest
from sqlalchemy import JSON, BigInteger, Column, DefaultClause, Engine, Float, Index, Table, inspect, text

from adwarm.model import EntryKey, Mode, Priority, ReportKey, WarmReason, WarmStatus, Window
from adwarm.store.columns import EnumText, columns_of, from_row, metadata, shorten, table_of, to_row
from adwarm.store.database import insert_new, read_transaction, write_transaction
from adwarm.store.entries import payload
from adwarm.store.partitions import PartitionState
from adwarm.store.partitions import table as partition
from adwarm.store.warms import table as warm

NOW = datetime(2026, 3, 8, tzinfo=UTC)
KEY = EntryKey("act_1", Window(date(2026, 3, 1), date(2026, 3, 7)), "abc")


@dataclass(frozen=True)
class _Value:
    key: ReportKey
    status: WarmStatus
    reads: int = 0


@dataclass(frozen=True)
class _Declared:
    """What a row is."""

    key: EntryKey
    spec: Annotated[_Value, JSON(), "A dataclass that is one column."]
    kind: Annotated[Literal["a", "b"], 8, "Which."]
    status: Annotated[WarmStatus | None, 12] = None
    reads: Annotated[int, BigInteger(), DefaultClause("0"), "How often."] = 0
    note: str = ""
    share: float | None = None
    tags: Annotated[tuple[str, ...], "Its tags."] = field(default_factory=tuple)


@pytest.fixture
def declared() -> Iterator[Table]:
    """The table of a class, and of columns that are no field of it."""
    own = Column("share", Float, nullable=False, default=0.5)
    table = table_of(
        _Declared, "declared", own, Index(None, "note"), key=("id", "account_id"), grows="rows", bound="time"
    )
    yield table
    metadata.remove(table)


def test_a_class_declares_its_table(engine: Engine, declared: Table) -> None:
    """Types, NULL, defaults and meanings are those of its annotations, on both databases; `id` is counted up."""
    with write_transaction(engine) as connection:
        declared.create(connection)
    made = {column["name"]: column for column in inspect(engine).get_columns("declared")}
    names = ["id", "account_id", "since", "until", "spec_hash", "spec", "kind", "status", "reads", "note", "share"]

    assert list(made) == [*names, "tags"]
    assert inspect(engine).get_pk_constraint("declared")["constrained_columns"] == ["id", "account_id"]
    assert [name for name, column in made.items() if column["nullable"]] == ["status"]
    lengths = {name: getattr(column["type"], "length", None) for name, column in made.items()}
    assert {name: length for name, length in lengths.items() if length} == {
        "account_id": 64, "spec_hash": 12, "kind": 8, "status": 12,
    }  # fmt: skip
    assert "0" in str(made["reads"]["default"])
    assert declared.c.share.default.arg == 0.5
    assert declared.c.account_id.doc == "Account id."
    assert (declared.c.reads.doc, declared.c.note.doc) == ("How often.", None)
    assert declared.info == {"text": "What a row is.", "grows": "rows", "bound": "time"}


def test_texts_are_cut_to_their_columns(declared: Table) -> None:
    """So that any input can be recorded; what is not text, and a text without a limit, stays as it is."""
    row: dict[str, Any] = {"kind": "a" * 9, "note": "n" * 999, "status": None, "reads": 10**12}
    assert shorten(row, declared) == {**row, "kind": "a" * 8}


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
