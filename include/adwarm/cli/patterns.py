"""`adwarm patterns`: when reports are opened, from the stored aggregates or from one log."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from adwarm.cli.terminal import JsonOption, make_console, print_json, print_table
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    import pandas as pd

    from adwarm.patterns.profile import AccessProfiles

_BARS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_DIGITS = " 123456789"
_QUIET_STYLE, _BUSY_STYLE, _PEAK_STYLE = "dim", "yellow", "bold red"
_BUSIEST_HOURS = 5


def draw_heat_map(
    console: Console, rate: Sequence[float], busy: Collection[int], peak: Collection[int], quiet: Collection[int]
) -> Text:
    """Return the map of 168 rates, with a legend.

    A terminal that cannot show bars gets digits. Peak hours have an asterisk and quiet hours a dot, so color is not
    needed.
    """
    from adwarm.patterns.hour_of_week import SHORT_DAYS
    from adwarm.patterns.pattern_document import heat_levels

    symbols, dot = (_BARS, "\u00b7") if console.encoding.lower().startswith("utf") else (_DIGITS, ".")
    levels = heat_levels(rate, len(symbols) - 1)
    width = 2 if symbols is _BARS else 1
    text = Text("    " + "".join(f" {hour:02d}" for hour in range(24)) + "\n", no_wrap=True)
    for day, name in enumerate(SHORT_DAYS):
        text.append(f"{name} ")
        for hour in range(day * 24, day * 24 + 24):
            if hour in quiet:
                text.append(f" {dot * width:>2}", _QUIET_STYLE)
            else:
                mark, style = ("*", _PEAK_STYLE) if hour in peak else (" ", _BUSY_STYLE if hour in busy else "")
                text.append(f"{mark + symbols[levels[hour]] * width:>3}", style)
        text.append("\n")
    marks = f"{symbols[1]} to {symbols[-1]}: first opens per hour, up to {max(rate, default=0.0):,.3g}"
    text.append(f"    {marks}; * peak hour; {dot} quiet hour", "dim")
    return text


def patterns(
    log: Annotated[str | None, typer.Argument(help="Count only this log: file, folder, glob or URL.")] = None,
    *,
    account: Annotated[str | None, typer.Option(help="Show this account; by default all together.")] = None,
    days: Annotated[
        int | None, typer.Option(help="Days to look at, back from the last hour read; default: the forecast's.", min=1)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With a log: write its table to this Parquet file.")] = None,
    limit: Annotated[int, typer.Option(help="Accounts, or with a log reports, to show.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show when reports are opened: a heat map of the week, peak and quiet hours, popular ranges.

    With a log, count its opens by report and hour of the reader's week; all days count and nothing is stored.
    """
    if log is None:
        if out is not None:
            raise BadRequest("--out writes the counts of a log; name the log, as in `adwarm patterns LOG --out FILE`")
        profiles = _load_profiles(days)
        _print_profile(profiles, profiles.find_account(account), limit, {}, as_json=as_json)
    else:
        if days is not None:
            raise BadRequest("--days looks back from the stored log; a log that is named is counted whole")
        profiles, counts = _profile_log(log, out)
        account_id = profiles.find_account(account)
        reports = _describe_reports(counts, account_id, limit)
        reports["written_to"] = None if out is None else str(out)
        _print_profile(profiles, account_id, limit, reports, as_json=as_json)


def _load_profiles(days: int | None) -> "AccessProfiles":
    from adwarm.foundation.errors import NotFound
    from adwarm.patterns.open_counts import load_open_counts
    from adwarm.patterns.profile import build_profiles
    from adwarm.runtime import Runtime
    from adwarm.store import aggregates, read_transaction

    runtime = Runtime()
    with read_transaction(runtime.engine) as connection:
        newest = aggregates.find_newest_hour(connection)
    if newest is None:
        raise NotFound("no access log has been read yet; run `adwarm learn`, or the DAG adwarm_access_patterns")
    until = newest + timedelta(hours=1)
    since = until - timedelta(days=days or runtime.settings.forecast.history_days)
    return build_profiles(load_open_counts(runtime.context, since, until), until)


def _profile_log(log: str, out: Path | None) -> tuple["AccessProfiles", "pd.DataFrame"]:
    from adwarm.patterns.access_profiles import profile_and_count_log
    from adwarm.settings import load_settings

    profiles, counts = profile_and_count_log(log, load_settings())
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        counts.to_parquet(out, compression="zstd", index=False)
    return profiles, counts


def _print_profile(
    profiles: "AccessProfiles", account_id: str, limit: int, reports: dict[str, Any], *, as_json: bool
) -> None:
    from adwarm.patterns.pattern_document import describe_profiles

    document = describe_profiles(profiles, account_id, limit)
    if as_json:
        print_json({**document, **reports})
        return
    _print_week(document)
    _print_lists(document, reports)


def _print_week(document: dict[str, Any]) -> None:
    """Print title, heat map, and what is significant."""
    from adwarm.patterns.pattern_document import describe_title, describe_zones

    console = make_console()
    hours = (set(document[name]) for name in ("busy_hours", "peak_hours", "quiet_hours"))
    title = describe_title(document)
    for line in (
        title,
        f"Hours on the readers' clocks: {describe_zones(document['time_zones'])}",
        draw_heat_map(console, document["rate"], *hours),
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print()
    for name in ("busy", "quiet"):
        if text := document[name]:
            console.print(f"{name.capitalize()}: {text}", markup=False, highlight=False, soft_wrap=True)
    if document["evidence"]:
        console.print(f"No busy or quiet hours: {document['evidence']}", markup=False, highlight=False, soft_wrap=True)
    print_table(
        "The week",
        ("weekday", "opens a day", "peak hours", "quiet hours"),
        [
            (day["weekday"], day["opens_per_day"], ", ".join(day["peak_hours"]), ", ".join(day["quiet_hours"]))
            for day in document["weekdays"]
        ],
    )


def _print_lists(document: dict[str, Any], reports: dict[str, Any]) -> None:
    """Print popular ranges, and the most opened accounts or reports."""
    print_table(
        "Popular ranges",
        ("range", "first opens", "share"),
        [(row["date_range"], row["opens"], f"{row['share']:.1%}") for row in document["popular_ranges"]],
        "none",
    )
    if reports:
        print_table(
            f"The most opened of {reports['reports']:,} reports, by the hour of the reader's week",
            ("account", "range", "opens", "busiest hours"),
            [
                (row["account_id"], row["date_range"], row["opens"], _format_hours(row["busiest"]))
                for row in reports["most_opened"]
            ],
            "the log holds no open by a human",
        )
    elif rows := document["most_opened_accounts"]:
        print_table(
            f"The most opened of {document['accounts']:,} accounts",
            ("account", "first opens", "busy", "quiet"),
            [(row["account_id"], row["first_opens"], row["busy"] or "-", row["quiet"] or "-") for row in rows],
        )


def _describe_reports(frame: "pd.DataFrame", account_id: str, limit: int) -> dict[str, Any]:
    """Return the most opened reports of a log, of all accounts or of one, with their busiest hours."""
    from adwarm.model import ALL_ACCOUNTS

    if account_id != ALL_ACCOUNTS:
        frame = frame[frame["account_id"] == account_id]
    totals = frame.groupby(["account_id", "date_range"], observed=True)["opens"].sum()
    most = totals.nlargest(limit).reset_index()
    rows = [_report_counts(frame, *row) for row in most.itertuples(index=False, name=None)]
    return {"reports": len(totals), "most_opened": rows}


def _report_counts(frame: "pd.DataFrame", account_id: str, date_range: str, opens: int) -> dict[str, Any]:
    own = frame[(frame["account_id"] == account_id) & (frame["date_range"] == date_range)]
    busiest = own.nlargest(_BUSIEST_HOURS, "opens")[["hour_of_week", "opens"]].to_dict("records")
    return {"account_id": account_id, "date_range": date_range, "opens": opens, "busiest": busiest}


def _format_hours(busiest: list[dict[str, int]]) -> str:
    from adwarm.patterns.hour_of_week import SHORT_DAYS, format_time

    return ", ".join(
        f"{SHORT_DAYS[row['hour_of_week'] // 24]} {format_time(row['hour_of_week'])} ({row['opens']:,})"
        for row in busiest
    )
