"""What `adwarm status` says about the integrity of what is stored."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from adwarm.cli.output import print_fields, print_table

if TYPE_CHECKING:
    from sqlalchemy import Engine

_MAX_ITEMS = 20
_DAYS = 7


def report_integrity(engine: "Engine", now: datetime) -> dict[str, Any]:
    """Return what was verified in the last 7 days, the last full pass, and what is damaged, as JSON values."""
    from adwarm.store import integrity_days, quarantine

    totals = integrity_days.get_totals(engine, now - timedelta(days=_DAYS - 1))
    return {
        "since": totals.since,
        "checked": totals.total.checked,
        "damaged": totals.total.damaged,
        "healed": totals.total.healed,
        "bytes": totals.total.bytes,
        "last_full_pass": totals.pass_ended,
        "open": sum(quarantine.count_open(engine).values()),
        "open_items": [
            {
                "kind": found.item.kind,
                "name": found.item.name[:12],
                "account_id": found.item.account_id,
                "found_at": found.item.found_at,
                "reason": found.item.reason,
            }
            for found in quarantine.list_open(engine, _MAX_ITEMS)
        ],
    }


def print_integrity(fields: dict[str, Any]) -> None:
    """Print the section."""
    print_fields("Integrity, last 7 days", {name: value for name, value in fields.items() if name != "open_items"})
    if fields["open_items"]:
        rows = [tuple(item.values()) for item in fields["open_items"]]
        print_table("Damaged data that is not replaced yet", ("kind", "name", "account", "found", "why"), rows)
