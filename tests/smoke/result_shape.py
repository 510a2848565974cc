"""The shape of a result file: name, machine, and rows of equal keys with finite figures."""

import json
from pathlib import Path
from typing import Any, Final

MACHINE: Final = ("python", "machine", "system")


def find_faults(path: Path) -> list[str]:
    """Return what is wrong with the shape of a result file."""
    if not path.is_file():
        return [f"{path.name} was not written"]
    infinite: list[str] = []
    document = json.loads(path.read_text(encoding="utf-8"), parse_constant=infinite.append)
    if not isinstance(document, dict):
        return [f"{path.name} holds no object"]
    faults = [f"a figure is {text}" for text in infinite]
    if document.get("name") != path.stem:
        faults.append(f"its name is {document.get('name')}")
    if [name for name in MACHINE if not (document.get("machine") or {}).get(name)]:
        faults.append("it does not say on which machine it was measured")
    return [f"{path.name}: {fault}" for fault in faults + _find_faults_of_rows(document.get("rows"))]


def _find_faults_of_rows(rows: Any) -> list[str]:
    if not rows or not isinstance(rows, list) or not all(isinstance(row, dict) and row for row in rows):
        return ["it has no rows"]
    faults = [
        f"row {number} has the keys {', '.join(row)} instead of {', '.join(rows[0])}"
        for number, row in enumerate(rows, start=1)
        if list(row) != list(rows[0])
    ]
    if not any(isinstance(value, int | float) for row in rows for value in row.values()):
        faults.append("its rows have no figures")
    return faults
