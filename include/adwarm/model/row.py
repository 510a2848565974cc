"""A row of a report, as sources return it and partitions store it."""

from typing import Any

Row = dict[str, Any]
"""One insights row: numbers as the platform's numeric strings, ids as text, lists of actions as lists.

It always has `date_start`, `date_stop` and the id of its level; a metric that is zero or undefined may be missing.
"""
