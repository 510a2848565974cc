"""Which reports people open."""

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from adwarm.model import ReportKey
from adwarm.patterns.load_slots import iter_slots
from adwarm.store import Context


def list_opened_keys(
    context: Context, since: datetime, until: datetime, date_ranges: Sequence[str], report: str
) -> set[ReportKey]:
    """Return the reports with one of the ranges that people have opened in the half-open window, in whichever log."""
    keys: set[ReportKey] = set()
    for table in iter_slots(context, since, until):
        is_chosen = pc.and_(pc.is_in(table["date_range"], pa.array(date_ranges)), pc.equal(table["report"], report))
        some = table.select(["account_id", "date_range"]).filter(is_chosen).to_pandas().drop_duplicates()
        names = zip(some["account_id"].tolist(), some["date_range"].tolist(), strict=True)
        keys.update(ReportKey(account, date_range, report) for account, date_range in names)
    return keys
