"""The command that plays a log back against warming policies."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from adwarm.cli.output import print_table
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?")
_TRAINING, _TEST = timedelta(weeks=8), timedelta(weeks=4)


def replay(
    log: Annotated[str, typer.Argument(help="Access log: file, folder, glob or URL.")],
    train_from: Annotated[str | None, typer.Option(help="UTC day or moment; 8 weeks before --test-from.")] = None,
    test_from: Annotated[str | None, typer.Option(help="UTC day or moment; 4 weeks before --test-to.")] = None,
    test_to: Annotated[str | None, typer.Option(help="UTC day or moment, not included; the log's end.")] = None,
    policy: Annotated[str, typer.Option(help="Names with commas between, or all. Your own: module:Class.")] = "all",
    at: Annotated[str, typer.Option(help="Multiples of the calls of no warming to aim at.")] = (
        "1.25,1.5,1.75,2,2.5,3,4"
    ),
    ttl: Annotated[str, typer.Option(help="How long an entry is fresh, such as 3h; class: by its date range.")] = "3h",
    step: Annotated[str, typer.Option(help="Time between decisions; minutes without a unit.")] = "15m",
    lag: Annotated[str, typer.Option(help="How long an open takes to become known; minutes.")] = "5m",
    latency: Annotated[str, typer.Option(help="From a decision until its warms can be served; seconds.")] = "30s",
    fetch: Annotated[str, typer.Option(help="How long somebody waits at a miss; seconds.")] = "5s",
    cost: Annotated[str, typer.Option(help="What a call is: key, or requests (keys fetched together share).")] = "key",
    min_opens: Annotated[int, typer.Option(help="Leave out keys with fewer opens in training.", min=0)] = 20,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
    warms_out: Annotated[Path | None, typer.Option(help="Write every warm to this Parquet file.")] = None,
) -> None:
    """Play a log back: what each policy would have fetched, served and wasted. Calls nothing."""
    from adwarm.replay.replay_run import ReplayConfig, read_opens
    from adwarm.replay.replay_run import replay as run
    from adwarm.settings import load_settings

    if cost not in {"key", "requests"}:
        raise BadRequest(f"--cost {cost!r} is neither key nor requests")
    rules = ReplayConfig(
        None if ttl == "class" else parse_duration(ttl, "h"),
        parse_duration(step, "m"),
        parse_duration(lag, "m"),
        parse_duration(latency, "s"),
        parse_duration(fetch, "s"),
        parse_multiples(at),
        "requests" if cost == "requests" else "key",
    )
    settings = load_settings()
    split = _parse_split(log, settings, train_from, test_from, test_to)
    opens = read_opens(log, settings, split, min_opens)
    names = [name.strip() for name in policy.split(",") if name.strip()]
    with _progress_bars() as watcher:
        found = run(opens, split, rules, names, settings, watcher)
    _write_files(found, json_file, html, warms_out)
    _print_curves(found.document)


def parse_duration(text: str, unit: str) -> timedelta:
    """Return the time that `text` means, such as `3h`, `15m` or `30s`; a number alone counts `unit`.

    Raises:
        BadRequest: it is no span of time.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    if not found:
        raise BadRequest(f"{text!r} is not a span of time; write one such as 30s, 15m or 3h")
    return timedelta(seconds=float(found[1]) * _UNITS[found[2] or unit])


def parse_multiples(text: str) -> list[float]:
    """Return the multiples in `text`, ascending.

    Raises:
        BadRequest: one is no number.
    """
    try:
        return sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        raise BadRequest(f"--at {text!r} is not a list of numbers; write one such as 1.5,2,3") from None


def _parse_timestamp(name: str, text: str) -> datetime:
    try:
        return utc(datetime.fromisoformat(text))
    except ValueError:
        raise BadRequest(f"{name} {text!r} is not a day or moment; write one such as 2026-11-25") from None


def _parse_split(log: str, settings: Any, train_from: str | None, test_from: str | None, test_to: str | None) -> Any:
    from adwarm.access_log import log_span
    from adwarm.replay.replay_run import TrainTestSplit

    end = _parse_timestamp("--test-to", test_to) if test_to else log_span(log, settings)[1] + timedelta(microseconds=1)
    test = _parse_timestamp("--test-from", test_from) if test_from else end - _TEST
    return TrainTestSplit(_parse_timestamp("--train-from", train_from) if train_from else test - _TRAINING, test, end)


@contextmanager
def _progress_bars() -> Iterator[Callable[[str, float], None]]:
    """Show a bar per policy on standard error, where somebody may be watching."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, Any] = {}

        def watcher(name: str, share: float) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=1.0)
            progress.advance(tasks[name], share)

        yield watcher


def _write_files(found: Any, json_file: Path | None, html: Path | None, warms_out: Path | None) -> None:
    import orjson

    for path in (json_file, html, warms_out):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
    if json_file is not None:
        json_file.write_bytes(orjson.dumps(found.document, option=orjson.OPT_INDENT_2) + b"\n")
    if html is not None:
        from adwarm.replay.replay_page import render_page

        html.write_text(render_page(found.document), encoding="utf-8")
    if warms_out is not None:
        warms = found.warms
        columns = ["ts", "account_id", "date_range", "at", "confidence"]
        columns = ["policy"] * (warms["policy"].nunique() > 1) + columns
        columns += ["report"] * bool((warms["report"] != "default").any())
        warms[columns].to_parquet(warms_out, index=False)


def _print_curves(document: dict[str, Any]) -> None:
    first = document["policies"][0]["read_off_curve"]
    columns = ["policy", *(f"{row['multiple']:g}x" for row in first), "most", "ECE"]
    rows = []
    for policy in document["policies"]:
        read = policy["read_off_curve"]
        most = max(policy["curve"], key=lambda row: row["first_open_hit_ratio"])
        quality = policy["probability"]
        ratios = [row["first_open_hit_ratio"] if row["within_reach"] else None for row in read]
        reach = f"{most['first_open_hit_ratio']:.3f} at {most['multiple']:.2f}x"
        rows.append([policy["name"], *ratios, reach, quality["ece"] if quality else None])
    log = document["log"]
    title = (
        f"First-open hit ratio at multiples of the calls of no warming "
        f"({log['keys']:,} keys, {log['scored_first_opens']:,} first opens)"
    )
    print_table(title, columns, rows)
