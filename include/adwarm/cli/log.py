"""`adwarm log`: checks an access log before anything learns from it."""

import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import JsonOption, print_json, print_lines, print_note, print_table
from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from adwarm.log_check.check import CheckProgress

app = typer.Typer(help="Check an access log.", no_args_is_help=True)

_LINE_SECONDS = 10
_STEPS = 3
_FILES_SHOWN = 20
_FILE_REASONS = ("unreadable", "symlink")
_OPTIONAL = {
    "actor",
    "report",
    "method",
    "status",
    "user_agent",
    "request_id",
}


@app.callback()
def log() -> None:
    """Check an access log."""


@app.command("check")
def check(
    log: Annotated[
        str | None,
        typer.Argument(help="File, folder, glob or URL; default: the log in the settings, else adwarm's own."),
    ] = None,
    *,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Apply what is advised, and write the settings to FILE, which ADWARM_CONFIG then names.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Read a log as an ingest would, store nothing, and say what is found, what is not read and what to change.

    Exits with 1 when the log holds no open by a human.
    """
    from adwarm.log_check.check import check_log
    from adwarm.log_check.next_step import find_next_step
    from adwarm.log_check.report import to_document
    from adwarm.log_check.saved_settings import save_settings
    from adwarm.log_check.suggestions import suggest
    from adwarm.settings import AccessLogSettings, load_settings
    from adwarm.store.open_files import OpenFiles

    settings = load_settings()
    files = OpenFiles(settings.data)
    url = log or settings.access_log.url or (files.url if files.list_days() else None)
    if not url:
        raise BadRequest(
            "no access log is set; name one, or point ADWARM_ACCESS_LOG__URL at a file, a folder or a glob"
        )
    for _ in range(_STEPS):
        with _progress() as on_progress:
            result = check_log(url, settings, on_progress)
        step = find_next_step(result, settings)
        if save is None or step is None or not step.command:
            break
        log_settings = AccessLogSettings.model_validate(settings.access_log.model_dump() | dict(step.values))
        settings = settings.model_copy(update={"access_log": log_settings})
    document = to_document(result, suggest(result, settings, SystemClock().now(), step), step)
    if as_json:
        print_json(document)
    else:
        _print_document(document)
    if save is not None:
        save_settings(save, settings.access_log, url)
        print_note(
            f"the settings are in {save}; use them with `export ADWARM_CONFIG={shlex.quote(str(save.absolute()))}`"
        )
    if not result.is_usable:
        raise typer.Exit(1)


@contextmanager
def _progress() -> Iterator[Callable[["CheckProgress"], None]]:
    """Show progress on standard error: a bar on a terminal, else a line each 10 seconds."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_printer(console.print)
        return
    columns = (
        TextColumn("reading"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)

        def update(done: "CheckProgress") -> None:
            text = f"{done.events:,} events, {done.rejected:,} rejected"
            progress.update(task, completed=done.done_bytes, total=done.total_bytes, description=text)

        yield update


def _line_printer(write: Callable[[str], None]) -> Callable[["CheckProgress"], None]:
    started = last = time.monotonic()

    def update(done: "CheckProgress") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < _LINE_SECONDS:
            return
        last = now
        write(
            f"read {done.done_bytes / 1e6:,.0f} of {done.total_bytes / 1e6:,.0f} MB in {now - started:.0f} s: "
            f"{done.events:,} events, {done.rejected:,} rejected"
        )

    return update


def _print_document(document: dict[str, Any]) -> None:
    shown = document["files"][:_FILES_SHOWN]
    rest = document["files_in_all"] - len(shown)
    print_table(
        "Files" + (f" (and {rest:,} more)" if rest else ""),
        ("file", "format", "MB", "accepted", "rejected", "other"),
        [
            (item["path"], item["format"], f"{item['bytes'] / 1e6:,.1f}", item["accepted"], item["rejected"],
             item["ignored_requests"])
            for item in shown
        ],
    )  # fmt: skip
    problems = [f"{item['path']}: {item['problem']}" for item in shown if item["problem"]]
    if problems:
        _print_section("Problems", problems)
    for layout in document["layouts"]:
        _print_layout(layout)
    _print_samples(document)
    if document["accepted"]:
        _print_figures(document)
    if document["skipped"]["files"]:
        title = f"{document['skipped']['files']:,} files of the folder are skipped"
        print_table(title, ("file", "why"), document["skipped"]["samples"])
    if document["machine_agents"]:
        print_table(
            "User agents that count as programs", ("user agent", "requests"), document["machine_agents"].items()
        )
    _print_section("Advice", document["advice"] or ["nothing to change"])
    if document["after"]:
        _print_section("First rows as they are", document["before"])
        _print_section("First opens as the command below reads them", document["after"])
    if document["next_command"]:
        typer.echo(f"Try next, and keep the settings when they read the log:\n{document['next_command']}")
        typer.echo(f"Or write them to a file: adwarm log check {shlex.quote(document['url'])} --save adwarm.toml")
    elif document["usable"]:
        print_note(f"next: `adwarm learn {shlex.quote(document['url'])}` learns from it, with these settings")


def _print_section(title: str, lines: Iterable[str]) -> None:
    """Print a list whose lines wrap between words on a terminal."""
    print_lines([(0, f"{title}:"), *((2, f"- {line}") for line in lines)])


def _print_layout(layout: dict[str, Any]) -> None:
    rows = []
    for name, item in layout["fields"].items():
        if item["by"] == "not found" and name in _OPTIONAL and not item["suggested"]:
            continue
        hint = f"{item['by']}; {item['suggested']!r}?" if item["suggested"] else item["by"]
        rows.append((name, item["column"] or "-", hint))
    if layout["unused_columns"]:
        rows.append(("(unused)", ", ".join(layout["unused_columns"]), "-"))
    count = layout["files"]
    title = f"Columns of {layout['format']}, {count:,} file{'s' if count != 1 else ''}"
    print_table(title, ("field", "column", "by"), rows)


def _print_samples(document: dict[str, Any]) -> None:
    """Print each reason with its first line; why a file is not read stands among the problems."""
    samples = {item["reason"]: item for item in document["samples"]}
    lines = []
    for reason, count in document["rejected"].items():
        sample = samples.get(reason)
        if sample is None:
            lines.append(f"{reason} {count:,}")
        elif reason in _FILE_REASONS:
            lines.append(f"{reason} {count:,}, first {sample['file']}")
        else:
            lines.append(f"{reason} {count:,}, first {sample['file']} at {sample['offset']:,}: {sample['excerpt']}")
    if lines:
        _print_section("Rejected lines and files, with the first of each reason", lines)


def _print_figures(document: dict[str, Any]) -> None:
    from adwarm.log_check.learnable import count_days

    span, repeats, learnable = document["span"], document["repeats"], document["learnable"] or {}
    about = "about " if repeats["is_estimate"] else ""
    rows: list[tuple[str, Any]] = [
        ("accepted", document["accepted"]),
        ("first event", span["first"]),
        ("last event", span["last"]),
        ("days", f"{span['days']:,}; {learnable.get('days_without_opens', 0):,} of them without an open"),
        ("opens by", document["actors"] or "-"),
        ("time zones", {name or "(none)": count for name, count in document["time_zones"].items()} or "-"),
        ("repeated events", f"{about}{repeats['exact']:,}"),
        ("reloads at a fixed interval", document["reloads"]),
        ("human opens", learnable.get("opens", 0)),
        ("first opens", learnable.get("first_opens", 0)),
        ("accounts, keys", f"{learnable.get('accounts', 0):,}, {learnable.get('keys', 0):,}"),
        ("first opens per key", learnable.get("first_opens_per_key", 0)),
        ("keys with 20 opens", learnable.get("keys_with_enough_opens", 0)),
    ]
    for item in learnable.get("requirements", ()):
        missing = item["missing_days"]
        state = f"not enough, {missing} more needed" if missing else "enough"
        has = count_days(item["has_days"], item["unit"])
        rows.append((item["use"], f"{state}: {has}, {item['needs_days']} needed"))
    print_table("The log", ("", ""), rows)
