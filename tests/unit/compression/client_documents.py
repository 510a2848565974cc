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
RECORDED: list[Row] = orjson.loads(FILE.with_name("ratios.json").read_bytes())["rows"]
"""Rows of published answers of the platform."""


def _items(**values: str) -> list[dict[str, str]]:
    return [{"action_type": kind, "value": value} for kind, value in values.items()]


def _rows(*cells: Any) -> list[Row]:
    """Return a row per cell of `actions`; None is a row without the field."""
    return [{"ad_id": str(number)} | ({} if cell is None else {"actions": cell}) for number, cell in enumerate(cells)]


def _ratio_rows() -> list[Row]:
    """Return rows with the cost of actions: with windows, of other actions, of none, of zero, and what it is not."""
    costs = [{"action_type": "link_click", "7d_click": "2.5", "value": "1.666667"}, *_items(purchase="5")]
    result = {"indicator": "actions:purchase", "values": [{"value": "2", "attribution_windows": ["default"]}]}
    cost = {"indicator": "actions:purchase", "values": [{"value": "2.5", "attribution_windows": ["default"]}]}
    lists: Row = {"actions": ACTIONS, "cost_per_action_type": costs, "results": [result], "cost_per_result": [cost]}
    full = {"spend": "5.00", **lists}
    rows: list[Row] = [
        {**full, "spend": "0", "cost_per_action_type": _items(purchase="0")},
        {**full, "spend": "5"},
        {"spend": "5.00", "actions": _items(link_click="3"), "results": [{"indicator": "actions:purchase"}]},
        {"spend": "5.00", "actions": [], "cost_per_action_type": costs, "cost_per_result": [cost]},
        {"spend": "5.00", "actions": _REPEATED, "cost_per_action_type": _items(link_click="5")},
        {**full, "actions": [*ACTIONS, {"action_type": "comment", "value": "2"}]},
        {**full, "actions": [*ACTIONS, {"action_type": "post", "value": 2}]},
        {**full, "actions": [ACTIONS[0], {"action_type": "purchase", "value": 1}]},
        {**full, "actions": [ACTIONS[0], {"action_type": "purchase", "value": "0"}]},
        {**lists, "ctr": "0.5"},
    ]
    return [{"ad_id": str(number), **row} for number, row in enumerate([*rows, *[full] * 30])]


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
    "ratios of recorded answers": (RECORDED, RECORDED[6:8]),
    "ratios of lists and results": (_ratio_rows(), None),
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
            if not isinstance(value, list) or name not in {"actions", "cost_per_action_type"}:
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
