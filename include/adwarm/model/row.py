"""A row of a report, as every source answers it and every store keeps it."""

from typing import Any

Row = dict[str, Any]
"""One insights row: every number as the platform's own numeric string, ids as text, lists of actions as lists.

`account_id`, `ad_id`, `date_start` and `date_stop` are always there; a metric that is zero or undefined may be absent.
"""
