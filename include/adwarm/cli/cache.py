"""`adwarm cache`: what is stored for readers, and what may go."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import JsonOption, ReportOption, get_doer, print_fields, print_json, print_note, print_table
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.foundation.wording import format_bytes, format_count

if TYPE_CHECKING:
    from adwarm.maintenance.eviction import Eviction, EvictionResult, StoredEntry
    from adwarm.model import ReportKey
    from adwarm.runtime import Runtime

app = typer.Typer(help="Show and delete what is stored for readers.", no_args_is_help=True)
_COLUMNS = ("account", "range", "days", "bytes", "fetched", "fresh until", "reads", "last read", "open in 24 h")
AccountOption = Annotated[str | None, typer.Option("--account", help="Only this account.")]


@app.callback()
def cache() -> None:
    """Show and delete what is stored for readers."""


@app.command("list")
def list_entries(
    account: Annotated[str | None, typer.Argument(help="Only the entries of this account.")] = None,
    date_range: Annotated[
        str | None,
        typer.Argument(help="Everything about the entries of this range, a preset or YYYY-MM-DD..YYYY-MM-DD."),
    ] = None,
    *,
    report: ReportOption = "default",
    limit: Annotated[int, typer.Option(min=1, help="Entries to show.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the stored entries, the newest first, how often each was read, and how likely it is opened within a day.

    With ACCOUNT and DATE_RANGE, everything that is known about them, the one that answers a read now first.
    """
    from adwarm.maintenance.eviction import list_stored
    from adwarm.model import ReportKey
    from adwarm.runtime import Runtime

    runtime = Runtime()
    account_id = _find_account(runtime, account)
    if account_id is not None and date_range is not None:
        _print_key(runtime, ReportKey.parse(account_id, date_range, report), as_json=as_json)
        return

    stored = list_stored(runtime.context, runtime.clock.now(), account_id)
    shown = sorted(stored, key=lambda item: item.entry.fetched_at, reverse=True)[:limit]
    size, limit_bytes = sum(item.entry.stored_bytes for item in stored), runtime.settings.cache.max_bytes
    if as_json:
        totals = {"count": len(stored), "stored_bytes": size, "max_bytes": limit_bytes}
        print_json({**totals, "entries": [_entry_fields(item) for item in shown]})
        return
    title = f"{format_count(len(stored), 'entry', 'entries')}, {format_bytes(size)} of {format_bytes(limit_bytes)}"
    more = f"; the first {len(shown):,}" if len(shown) < len(stored) else ""
    print_table(title + more, _COLUMNS, [_row(item) for item in shown], "nothing is stored yet")


def _print_key(runtime: "Runtime", key: "ReportKey", *, as_json: bool) -> None:
    """Print everything that is known about the entries of one report key, the one that answers it now first."""
    from adwarm.maintenance.eviction import find_evictions, list_stored
    from adwarm.model import resolve_key

    now, spec = runtime.clock.now(), runtime.settings.spec(key.report)
    current = resolve_key(key, runtime.reader.get_account(key.account_id), spec, now)
    everything = list_stored(runtime.context, now)
    reasons = {item.entry.key: item.why for item in find_evictions(everything, runtime.settings, now)}
    mine = [
        item
        for item in everything
        if item.entry.key == current
        or (item.entry.key.account_id, item.entry.date_range, item.entry.report)
        == (key.account_id, key.date_range, key.report)
    ]
    if not mine:
        raise NotFound(f"{key}: nothing is stored; `adwarm get --fetch {key.account_id} {key.date_range}` fetches it")
    mine.sort(key=lambda item: item.entry.key != current)
    details = [
        {
            **_entry_fields(item),
            "answers_the_key": item.entry.key == current,
            "is_fresh": item.entry.is_fresh(now),
            "degraded_reason": item.entry.degraded_reason,
            "eviction": reasons.get(item.entry.key),
            "payload_hash": item.entry.payload_hash,
        }
        for item in mine
    ]
    if as_json:
        print_json({"key": str(key), "window": str(current.window), "entries": details})
        return
    for fields in details:
        print_fields(f"{key}: {fields['window']}", fields)


@app.command()
def purge(
    *,
    account: AccountOption = None,
    date_range: Annotated[str | None, typer.Option("--date-range", help="Only entries of this date range.")] = None,
    expired: Annotated[bool, typer.Option("--expired", help="Entries that are not fresh any more.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every entry.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete stored entries. The stored days stay, so an entry is built again with at most one call.

    The conditions narrow each other. At least one has to be given, so that nothing is deleted by accident.
    """
    from adwarm.maintenance.eviction import Eviction, list_stored, preview
    from adwarm.runtime import Runtime

    if not any((account, date_range, expired, everything)):
        raise BadRequest("say what to delete: --account, --date-range, --expired or --all; --dry-run only shows it")
    runtime = Runtime()
    now = runtime.clock.now()
    stored = list_stored(runtime.context, now)
    account_id = _find_account(runtime, account)
    chosen = {item.entry.key: item for item in stored if _is_chosen(item, account_id, date_range)}
    if expired:
        chosen = {key: item for key, item in chosen.items() if not item.entry.is_fresh(now)}
    evictions = [Eviction(item.entry, "it was chosen") for item in chosen.values()]
    conditions = {"account": account_id, "date_range": date_range, "expired": expired, "all": everything}
    result = preview(evictions) if dry_run else _delete(runtime, evictions, conditions)
    if as_json:
        print_json({**result.to_dict(), "deleted": [_eviction_fields(item) for item in evictions]})
        return
    rows = [(item.entry.key.account_id, item.entry.date_range, item.entry.key.window, item.why) for item in evictions]
    print_table(str(result), ("account", "range", "days", "why"), rows[:50], "nothing")
    if len(rows) > 50:
        print_note(f"the first 50 of {len(rows):,}; --json shows all")


def _delete(runtime: "Runtime", evictions: "list[Eviction]", conditions: dict[str, Any]) -> "EvictionResult":
    """Delete entries as an action that is recorded."""
    from adwarm.actions.audit import audited
    from adwarm.maintenance.eviction import delete_entries

    subject = str(conditions["account"] or "several accounts")
    with audited(runtime.action_services, get_doer(), "purge", subject, conditions) as action:
        result = delete_entries(runtime.context, evictions, runtime.clock.now())
        action.arguments["deleted"] = result.to_dict()
        action.detail = str(result)
    return result


def _find_account(runtime: "Runtime", account: str | None) -> str | None:
    from adwarm.store.accounts import find_id

    return None if account is None else find_id(runtime.context, account)


def _is_chosen(item: "StoredEntry", account_id: str | None, date_range: str | None) -> bool:
    entry = item.entry
    return account_id in {None, entry.key.account_id} and date_range in {None, entry.date_range}


def _entry_fields(item: "StoredEntry") -> dict[str, Any]:
    entry = item.entry
    names = ("codec", "raw_bytes", "stored_bytes", "fetched_at", "expires_at", "reads", "last_read_at")
    facts = ("source", "complete", "settled", "degraded", "data_version")
    return {
        "account_id": entry.key.account_id,
        "date_range": entry.date_range,
        "report": entry.report,
        "window": str(entry.key.window),
        **{name: getattr(entry, name) for name in (*names, *facts)},
        "is_current": item.is_current,
        "chance_in_24h": item.chance,
    }


def _eviction_fields(item: "Eviction") -> dict[str, Any]:
    entry = item.entry
    return {
        "account_id": entry.key.account_id,
        "date_range": entry.date_range,
        "report": entry.report,
        "window": str(entry.key.window),
        "stored_bytes": entry.stored_bytes,
        "why": item.why,
    }


def _row(item: "StoredEntry") -> tuple[Any, ...]:
    entry = item.entry
    chance = "-" if item.chance is None else f"{item.chance:.0%}"
    until = "for good" if entry.expires_at is None else entry.expires_at
    return (
        entry.key.account_id,
        entry.date_range,
        entry.key.window if item.is_current else f"{entry.key.window} (past)",
        entry.stored_bytes,
        entry.fetched_at,
        until,
        entry.reads,
        entry.last_read_at,
        chance,
    )
