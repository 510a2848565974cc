"""`adwarm replay` and `adwarm review`: warming policies on a past log, and the stored reviews of those in use."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from adwarm.cli.terminal import JsonOption, print_fields, print_json, print_note, print_table
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from rich.progress import TaskID

    from adwarm.replay.replay_run import PolicyProgress, ReplayResult, TrainTestSplit
    from adwarm.settings import Settings
    from adwarm.store import Context

_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_POLICY_HELP = (
    "Names separated by commas; all: every one but the forecasts; forecasts: forecast-population, "
    "forecast-hour-of-week and forecast-adwarm, as they are deployed, which takes several times as long. "
    "Your own: module:Class."
)
_WARMS_SUFFIX = ".parquet"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?")
NEWEST: Final = "newest"


def replay(
    log: Annotated[str, typer.Argument(help="Access log: file, folder, glob or URL.")],
    *,
    train_weeks: Annotated[
        int | None, typer.Option(help="Weeks to learn from; 8, or what a shorter log holds.", min=2)
    ] = None,
    weeks: Annotated[
        int | None, typer.Option(help="Weeks to replay, at the end; 4, or what fits a shorter log.", min=1)
    ] = None,
    policy: Annotated[str, typer.Option(help=_POLICY_HELP)] = "all",
    at: Annotated[str, typer.Option(help="Call budgets to compare, as multiples of the calls without warming.")] = (
        "1.25,1.5,1.75,2,2.5,3,4"
    ),
    ttl: Annotated[str, typer.Option(help="How long an entry is fresh, such as 3h; class: by its date range.")] = "3h",
    min_opens: Annotated[int, typer.Option(help="Skip keys with fewer opens in training.", min=0)] = 20,
    out: Annotated[
        list[Path] | None,
        typer.Option(help="Write all figures to this file, as JSON; ending in .parquet: every warm. May be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay a log: what each policy would have fetched, served and wasted. Makes no upstream call."""
    from adwarm.replay.replay_run import ReplayConfig, read_opens
    from adwarm.replay.replay_run import replay as run
    from adwarm.settings import load_settings

    config = ReplayConfig(
        ttl=None if ttl == "class" else parse_duration(ttl, "h"),
        targets=parse_multiples(at),
    )
    settings = load_settings()
    split = _find_split(log, settings, (train_weeks, weeks))
    opens = read_opens(log, settings, split, min_opens)
    names = [name.strip() for name in policy.split(",") if name.strip()]
    with _progress_bars() as on_progress:
        result = run(opens, split, config, names=names, settings=settings, on_progress=on_progress)
    _write_files(result, out or [])
    if as_json:
        print_json(result.document)
    else:
        _print_curves(result.document)


def parse_duration(text: str, unit: str) -> timedelta:
    """Return the duration in `text`, such as `3h`, `15m` or `30s`; `unit` is used when `text` names none.

    Raises:
        BadRequest: `text` is not a duration.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if not match:
        raise BadRequest(f"{text!r} is not a duration; write one such as 30s, 15m or 3h")
    return timedelta(seconds=float(match[1]) * _UNITS[match[2] or unit])


def parse_multiples(text: str) -> list[float]:
    """Return the comma-separated numbers in `text`, each once, ascending.

    Raises:
        BadRequest: one is not a number.
    """
    try:
        return sorted({float(part) for part in text.split(",") if part.strip()})
    except ValueError:
        raise BadRequest(f"--at {text!r} is not a list of numbers; write one such as 1.5,2,3") from None


def _find_split(log: str, settings: "Settings", weeks: tuple[int | None, int | None]) -> "TrainTestSplit":
    """Return the periods of training and test at the end of the log, or what fits it."""
    from adwarm.access_log import log_span
    from adwarm.replay.replay_run import split_weeks

    first, last = log_span(log, settings)[:2]
    split, note = split_weeks(first, last + timedelta(microseconds=1), *weeks)
    if note:
        print_note(note)
    return split


@contextmanager
def _progress_bars() -> Iterator["PolicyProgress"]:
    """Show one progress bar per policy on standard error."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def advance(name: str, share: float) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=1.0)
            progress.advance(tasks[name], share)

        yield advance


def _write_files(result: "ReplayResult", paths: Sequence[Path]) -> None:
    import orjson

    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == _WARMS_SUFFIX:
            warms = result.warms
            columns = ["ts", "account_id", "date_range", "at", "confidence"]
            columns = ["policy"] * (warms["policy"].nunique() > 1) + columns
            columns += ["report"] * bool((warms["report"] != "default").any())
            warms[columns].to_parquet(path, index=False)
        else:
            path.write_bytes(orjson.dumps(result.document, option=orjson.OPT_INDENT_2) + b"\n")


def _print_curves(document: dict[str, Any]) -> None:
    first = document["policies"][0]["read_off_curve"]
    columns = ["policy", *(f"{row['multiple']:g}x" for row in first), "most", "ECE"]
    rows = []
    for policy in document["policies"]:
        most = max(policy["curve"], key=lambda row: row["first_open_hit_ratio"])
        quality = policy["probability"]
        ratios = [row["first_open_hit_ratio"] if row["within_reach"] else None for row in policy["read_off_curve"]]
        best = f"{most['first_open_hit_ratio']:.3f} at {most['multiple']:.2f}x"
        rows.append([policy["name"], *ratios, best, quality["ece"] if quality else None])
    log = document["log"]
    title = (
        f"First-open hit ratio at multiples of the calls of no warming "
        f"({log['keys']:,} keys, {log['scored_first_opens']:,} first opens)"
    )
    print_table(title, columns, rows)
    headline = document["headline"]
    print(f"{headline['policy']}: {headline['text']}.")


def review(
    run: Annotated[
        str | None, typer.Argument(help="Show the review of this run; newest: the latest; default: list all.")
    ] = None,
    *,
    page: Annotated[
        Path | None, typer.Option("--page", help="Write the page of the review to this file, as HTML.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="With --page: open the file in the browser.")] = False,
    limit: Annotated[int, typer.Option(help="Maximum number of reviews to list.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the stored policy reviews, or show one: what the live forecast achieved, the result, and its page.

    The page needs no network to be read.
    """
    from adwarm.foundation.errors import BadRequest
    from adwarm.runtime import Runtime

    if open_browser and page is None:
        raise BadRequest("--open goes with --page")
    context = Runtime().context
    if page is not None:
        _write_page(context, run or NEWEST, page, as_json=as_json)
        if open_browser:
            typer.launch(page.resolve().as_uri())
    elif run is None:
        _print_list(context, limit, as_json=as_json)
    else:
        _print_review(context, run, as_json=as_json)


def _print_list(context: "Context", limit: int, *, as_json: bool) -> None:
    from adwarm.replay.review_rules import describe_review
    from adwarm.store import read_transaction
    from adwarm.store.snapshots import list_reviews

    with read_transaction(context.engine) as connection:
        reviews = [describe_review(stored) for stored in list_reviews(connection, limit)]
    if as_json:
        print_json(reviews)
        return
    columns = ("run_id", "at", "verdict", "live_kind", "headline")
    empty = "none yet; the DAG adwarm_policy_review makes one every Monday, or when triggered"
    print_table("Reviews", columns, [[row[name] for name in columns] for row in reviews], empty)


def _print_review(context: "Context", run: str, *, as_json: bool) -> None:
    from adwarm.replay.review_rules import describe_review, get_review

    stored = get_review(context, run)
    if as_json:
        print_json({**describe_review(stored), "figures": stored.figures})
    else:
        print_fields("Review", describe_review(stored))


def _write_page(context: "Context", run: str, path: Path, *, as_json: bool) -> None:
    from adwarm.replay.review_rules import read_page

    page = read_page(context, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(page)
    if as_json:
        print_json({"written_to": str(path)})
    else:
        print(f"wrote {path}")
