"""The types of a report's fields, and its rows as a typed DataFrame: one rule for each way to read them."""

import re
from typing import TYPE_CHECKING, Final

from adwarm_client.column_table import ColumnTable

if TYPE_CHECKING:
    import pandas as pd

COUNT_FIELDS: Final = frozenset({
    "impressions",
    "clicks",
    "inline_link_clicks",
    "inline_post_engagement",
    "reach",
    "unique_clicks",
    "unique_inline_link_clicks",
    "full_view_impressions",
    "full_view_reach",
})
AMOUNT_FIELDS: Final = frozenset({
    "spend",
    "social_spend",
    "frequency",
    "ctr",
    "cpm",
    "cpc",
    "cpp",
    "inline_link_click_ctr",
    "cost_per_inline_link_click",
    "cost_per_inline_post_engagement",
    "unique_ctr",
    "unique_inline_link_click_ctr",
    "unique_link_clicks_ctr",
    "cost_per_unique_click",
    "cost_per_unique_inline_link_click",
})
"""Money and ratios."""
DAY_FIELDS: Final = ("date_start", "date_stop")
TEXT_SUFFIXES: Final = ("_id", "_name", "_currency")
"""Fields with these endings are text, whatever their values look like."""
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def to_frame(table: ColumnTable) -> "pd.DataFrame":
    """Return rows as a DataFrame: days as timestamps, counts as whole numbers, amounts and ratios as floats.

    Ids and names are text. A field that adwarm does not know is a number where each of
    its values is one, and as it was stored otherwise.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError as error:
        raise ImportError("a DataFrame needs pandas: pip install 'adwarm-client[frame]'") from error

    frame = pd.DataFrame(table.columns, index=range(table.rows))
    for name in frame.columns:
        if name in DAY_FIELDS:
            frame[name] = pd.to_datetime(frame[name])
        elif name in COUNT_FIELDS:
            frame[name] = pd.to_numeric(frame[name]).round().astype("Int64")
        elif name in AMOUNT_FIELDS:
            frame[name] = pd.to_numeric(frame[name]).astype("float64")
        elif not name.endswith(TEXT_SUFFIXES) and all(map(_is_number_or_missing, table.columns[name])):
            frame[name] = pd.to_numeric(frame[name])
    return frame


def _is_number_or_missing(value: object) -> bool:
    return (
        value is None or isinstance(value, int | float) or (isinstance(value, str) and bool(_NUMBER.fullmatch(value)))
    )
