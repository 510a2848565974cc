"""What every reader does with an entry whose stored bytes are damaged."""

from adwarm.model import ReportKey
from adwarm.store import entries
from adwarm.store.context import Context
from adwarm.store.entries import Entry


def mark_damaged(context: Context, entry: Entry, error: Exception) -> None:
    """Mark an entry as degraded, so that it is fetched again, and report the damage.

    Args:
        context: the database, and what records damage.
        entry: the entry whose bytes fail verification.
        error: what is wrong with them.

    Raises:
        Transient: the database cannot be reached; the next reader notices the damage again.
    """
    entries.mark_degraded(context.engine, entry, str(error))
    key = ReportKey(entry.key.account_id, entry.date_range, entry.report)
    context.on_damage(error, key.account_id, str(key))
