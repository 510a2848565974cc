"""Documents for the tests of the TypeScript client, beside the rows and values that it has to read from them.

`python -m tests.unit.compression.client_documents` writes them to `clients/typescript/tests/documents.json`.
"""

from pathlib import Path
from typing import Any

import orjson

from adwarm.compression.document import encode_document
from adwarm.model import Row

from .documents import ACTIONS, DAILY, SUMMARY, make_document

FILE = Path(__file__).resolve().parents[3] / "clients/typescript/tests/documents.json"


def _items(**values: str) -> list[dict[str, str]]:
    return [{"action_type": kind, "value": value} for kind, value in values.items()]


def _rows(*cells: Any) -> list[Row]:
    """Return a row per cell of `actions`; None is a row without the field."""
    return [{"ad_id": str(number)} | ({} if cell is None else {"actions": cell}) for number, cell in enumerate(cells)]


_REPEATED = [{"action_type": "link_click", "value": "1"}, {"action_type": "link_click", "value": "2"}]
_REGULAR = [_items(link_click=str(number), purchase="1") for number in range(40)]
CASES: dict[str, tuple[list[Row], list[Row] | None]] = {
    "a report with a summary": (DAILY, SUMMARY),
    "a window of one day": (DAILY[:1], None),
    "no rows": ([], []),
    "values that are missing in some rows": (
        [
            {"ad_id": "1", "date_start": "2026-11-18", "reach": None, "spend": "0"},
            {"ad_id": "2", "date_start": "2026-11-18", "reach": None},
            {"ad_id": "3", "date_start": "2026-11-18", "clicks": "7", "reach": None, "spend": ""},
        ],
        None,
    ),
    "values of other types than text": (
        [{"ad_id": "1", "is_new": True, "score": 1.5, "tags": ["a", "b"]}, {"ad_id": "2", "is_new": False, "score": 0}],
        None,
    ),
    "one action under several types": (
        _rows(
            _items(link_click="4", omni_purchase="2", purchase="2", web_purchase="2"),
            None,
            _items(link_click="5"),
            _items(omni_purchase="9", purchase="9", web_purchase="9"),
        ),
        _rows(_items(omni_purchase="11", purchase="11", web_purchase="11")),
    ),
    "measures beside the value": (
        _rows([ACTIONS[0]], [{"action_type": "link_click", "1d_view": "1"}], ACTIONS, None),
        None,
    ),
    "lists that the columns cannot hold": (
        _rows(
            *_REGULAR[:17],
            [],
            *_REGULAR[17:],
            _REPEATED,
            list(reversed(_items(link_click="6", purchase="7"))),
            [{"value": "3"}, {"action_type": "lead", "value": "8"}, {"action_type": "purchase", "value": None}],
            None,
        ),
        None,
    ),
    "lists too unlike each other to be pivoted": (_rows(_REPEATED, [], None, _items(purchase="4")), None),
}


def encode_cases() -> bytes:
    """Return the content of the file: by name a document, its rows, and the values by name of a flat column."""
    lines = []
    for name, (daily, summary) in CASES.items():
        case = {
            "document": orjson.loads(encode_document(make_document(daily, summary))),
            "daily": {"rows": _without_nulls(daily), "columns": _flat_columns(daily)},
            "summary": None
            if summary is None
            else {"rows": _without_nulls(summary), "columns": _flat_columns(summary)},
        }
        lines.append(orjson.dumps(name) + b": " + orjson.dumps(case))
    return b"{\n" + b",\n".join(lines) + b"\n}\n"


def _without_nulls(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _flat_columns(rows: list[Row]) -> dict[str, list[Any]]:
    """Return a list of values per field, and per type and measure of a field whose values are lists of actions."""
    flat: dict[str, list[Any]] = {}
    for number, row in enumerate(rows):
        for name, value in row.items():
            if not isinstance(value, list) or name != "actions":
                if value is not None:
                    flat.setdefault(name, [None] * len(rows))[number] = value
                continue
            for item in value:
                for measure in item.keys() - {"action_type"}:
                    if "action_type" not in item or item[measure] is None:
                        continue
                    kind = f"{name}.{item['action_type']}"
                    column = flat.setdefault(kind if measure == "value" else f"{kind}.{measure}", [None] * len(rows))
                    column[number] = column[number] if column[number] is not None else item[measure]
    return dict(sorted(flat.items()))


if __name__ == "__main__":
    FILE.write_bytes(encode_cases())
