"""The published JSON Schema accepts what is stored, and refuses what is not a document."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from adwarm.compression import Document, decompress, encode_document
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import entries
from tests.unit.conftest import SQLITE_ONLY, PrefetchHarness, one_ad_page

from .client_documents import CASES
from .documents import ACTIONS, DAILY, make_document

REFERENCE = Path(__file__).resolve().parents[3] / "docs/reference"
SCHEMA: dict[str, Any] = json.loads((REFERENCE / "document.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def _problems(raw: bytes) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(orjson.loads(raw))]


def _with_actions(unit: FetchUnit) -> ResultPage:
    page = one_ad_page(unit)
    for number, row in enumerate(page.rows):
        row["actions"] = ACTIONS if number else []
    return page


@SQLITE_ONLY
def test_stored_entries_are_valid(harness: PrefetchHarness) -> None:
    """Entries of one day and of many, with actions and exceptions, as they are published."""
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    harness.source.script = {"act_1": _with_actions}
    keys = [KeyRequest(ReportKey("act_1", name)) for name in ("yesterday", "last_7d")]
    harness.prefetch.run(keys, Priority.LOW)
    for entry in entries.list_entries(harness.engine):
        stored = entries.find(harness.engine, entry.key)
        assert stored is not None
        assert _problems(decompress(stored[1], harness.settings.compression)) == []
    assert len(entries.list_entries(harness.engine)) == 2


def test_every_form_of_a_column_is_valid(document: Document) -> None:
    """Plain lists, pivoted columns, shared lists, formulas and exceptions."""
    twice = [{"action_type": kind, "value": "1"} for kind in ("buy", "omni_buy")]
    rows = [{"ad_id": str(number), "actions": twice if number else [], "odd": [1]} for number in range(20)]
    assert _problems(encode_document(make_document(rows))) == []
    assert _problems(encode_document(document)) == []
    for daily, summary in CASES.values():
        assert _problems(encode_document(make_document(daily, summary))) == []
    assert _problems(encode_document(make_document([], []))) == []


@pytest.mark.parametrize(
    "change", [{"format_version": 4}, {"daily": None}, {"account_id": "1"}, {"rows": []}, {"since": "soon"}]
)
def test_other_documents_are_not(change: dict[str, Any]) -> None:
    """Another version, a missing table, an unknown field and a malformed value are refused."""
    body = orjson.loads(encode_document(make_document(DAILY)))
    assert _problems(orjson.dumps({**body, **change}))


def test_the_example_of_the_page_is_valid() -> None:
    """The document on the reference page follows the schema."""
    text = (REFERENCE / "report-document.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert _problems(example.encode()) == []
