"""Rows of the table of faults: what was done how often, what was lost or done twice, and how long recovery took."""

from pathlib import Path

import orjson

FOLDER = Path(__file__).resolve().parents[2] / ".adwarm" / "faults"


def write_rows(name: str, rows: list[dict[str, object]]) -> None:
    """Write rows to `.adwarm/faults/NAME.json`, in place of those of the same faults that are there.

    Args:
        name: the file, without its suffix.
        rows: `fault`, `times`, `lost`, `duplicated` and `recovered_in` of each.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    replaced = {row["fault"] for row in rows}
    older = orjson.loads(path.read_bytes()) if path.exists() else []
    path.write_bytes(orjson.dumps([row for row in older if row["fault"] not in replaced] + rows))
