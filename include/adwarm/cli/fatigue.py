"""`adwarm fatigue`: which creatives need an action, one of them or an ad in detail, and what changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from adwarm.cli.terminal import (
    JsonOption,
    parse_day,
    print_fields,
    print_json,
    print_note,
    print_table,
    split_commas,
)
from adwarm.foundation.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from adwarm.fatigue.report import AdChange
    from adwarm.model import Account
    from adwarm.runtime import Runtime
    from adwarm.store.scores import StoredScore

_HISTORY_DAYS = 90
_COLUMNS = (
    "id",
    "name",
    "status",
    "clicks lost",
    "a day",
    "score",
    "raised by",
    "alarm",
    "critical",
    "spend 7 d",
    "what to do",
)
_WORDS = ("recommendation", "certainty", "reasons", "note", "caution")
_CHANGE_COLUMNS = ("what", "id", "name", "change")
_WORST_COLUMNS = ("id", "name", "status", "clicks lost", "alarm")


@dataclass(frozen=True, slots=True)
class _Selection:
    """What a command shows: an account, and its scores of a day."""

    runtime: "Runtime"
    account: "Account"
    day: date
    scores: "list[StoredScore]"  # every score of the day, in the order of all lists
    shown: "list[StoredScore]"  # those that the options select

    @property
    def name(self) -> str:
        return self.account.name or self.account.id


def fatigue(
    account: Annotated[str | None, typer.Argument(help="Account id; without one, what needs action in all.")] = None,
    *,
    ad: Annotated[
        str | None, typer.Option(help="Show this ad or creative in detail; the file then holds its history.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="Show the newest scores up to this day.")] = None,
    changes: Annotated[bool, typer.Option("--changes", help="Show what changed since the scored day before.")] = False,
    status: Annotated[
        list[str] | None,
        typer.Option(help="Only this band: healthy, warning, critical or pending. Repeatable."),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the scores to this CSV file.")] = None,
    score: Annotated[
        bool, typer.Option("--score", help="Score the ads now, as of --as-of or the newest stored day, instead.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which creatives are fatigued, with their ads beneath, most spend times loss first. Nothing is fetched."""
    day = parse_day(as_of) if as_of else None
    if account is None:
        if ad or as_of or changes or status or csv or score:
            raise BadRequest("name an account: without one, the creatives of all accounts that need action are shown")
        _show_worst(as_json=as_json)
        return
    if score:
        if ad or changes or status or csv:
            raise BadRequest("--score goes with --as-of; the other options choose what is shown")
        _score(account, day, as_json=as_json)
        return
    selection = _select(account, ad, day, _parse_statuses(status))
    files = _write_files(selection, ad, csv)
    if changes:
        _show_changes(selection, ad, files, as_json=as_json)
    elif ad is not None:
        _show_ad(selection, files, as_json=as_json)
    else:
        _show_account(selection, files, as_json=as_json)
    if not as_json:
        for path in files.values():
            print_note(f"wrote {path}")


def _parse_statuses(texts: Sequence[str] | None) -> set[str]:
    from adwarm.model import FatigueStatus

    names = get_args(FatigueStatus)
    statuses = set(split_commas(texts))
    for name in sorted(statuses - set(names)):
        raise BadRequest(f"--status {name[:20]!r} is not a status; write one of {', '.join(names)}")
    return statuses


def _select(account: str, ad: str | None, as_of: date | None, statuses: set[str]) -> _Selection:
    """Return the scores to show."""
    from adwarm.model import Account
    from adwarm.runtime import Runtime
    from adwarm.store import accounts
    from adwarm.store.scores import find_newest_day, list_day

    runtime = Runtime()
    account_id = accounts.find_id(runtime.context, account)
    stored = accounts.get(runtime.engine, account_id)
    day = find_newest_day(runtime.engine, account_id, as_of)
    if day is None:
        raise NotFound(_explain_no_scores(runtime, account_id, as_of, is_known=stored is not None))
    scores = list_day(runtime.engine, account_id, day)
    everything = scores if ad is None else _with_parts(runtime, scores)
    shown = [item for item in everything if not statuses or item.score.status in statuses]
    if ad is not None:
        shown = [item for item in shown if item.score.ad_id == ad]
        if not any(item.score.ad_id == ad for item in everything):
            raise NotFound(
                f"{account_id} has no ad {ad[:40]!r} with a score on {day}; `adwarm fatigue {account_id}` lists its "
                "ads, and --as-of DAY shows an earlier day"
            )
        if not shown:
            raise BadRequest(f"the ad {ad[:40]} has another status than --status on {day}; leave --status out")
    return _Selection(runtime, stored or Account(account_id, currency=""), day, scores, shown)


def _explain_no_scores(runtime: "Runtime", account_id: str, as_of: date | None, *, is_known: bool) -> str:
    from adwarm.store import scores

    first = None if as_of is None else scores.find_newest_day(runtime.engine, account_id)
    if first is not None:
        return f"{account_id} has no scores up to {as_of}; its newest ones are of {first}"
    if not is_known:
        return f"the account {account_id} is not known; `adwarm accounts list` shows those that are"
    return (
        f"{account_id} has no scores yet; the DAG adwarm_daily_insights makes them once its days are stored "
        f"(`adwarm backfill` fetches earlier days)"
    )


def _write_files(selection: _Selection, ad: str | None, csv: Path | None) -> dict[str, Path]:
    """Write the CSV file, and return its path by option."""
    from adwarm.fatigue.report import format_scores_csv

    files = {}
    if csv is not None:
        rows = _with_parts(selection.runtime, selection.shown) if ad is None else _list_history(selection, ad)
        _write(csv, "--csv", format_scores_csv(rows, selection.runtime.settings.fatigue))
        files["csv"] = csv
    return files


def _write(path: Path, option: str, text: str) -> None:
    """Write a file; one that exists is replaced."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise BadRequest(
            f"{option} {path} cannot be written ({error.strerror}); name a file in a writable folder"
        ) from None


def _list_history(selection: _Selection, ad: str) -> "list[StoredScore]":
    from adwarm.store import scores

    return scores.list_ad_history(selection.runtime.engine, selection.account.id, ad, _HISTORY_DAYS, selection.day)


def _changes(selection: _Selection, ad: str | None = None) -> "list[AdChange]":
    from adwarm.fatigue.report import list_changes

    changes = list_changes(_list_before(selection), selection.scores)
    return [change for change in changes if ad is None or change.score.ad_id == ad]


def _list_before(selection: _Selection) -> "list[StoredScore]":
    """Return the scores of the newest earlier day; none for the account's first scored day."""
    from adwarm.store import scores

    engine, account_id = selection.runtime.engine, selection.account.id
    day = scores.find_newest_day(engine, account_id, selection.day - timedelta(days=1))
    return [] if day is None else scores.list_day(engine, account_id, day)


def _show_changes(selection: _Selection, ad: str | None, files: dict[str, Path], *, as_json: bool) -> None:
    before = _list_before(selection)
    if not before:
        raise NotFound(f"{selection.account.id} has no scores before {selection.day} to compare with")
    since, changes = before[0].score.as_of, _changes(selection, ad)
    if len(selection.shown) < len(selection.scores) and ad is None:
        ids = {item.score.ad_id for item in selection.shown}
        changes = [change for change in changes if change.score.ad_id in ids]
    if as_json:
        listed = [change.to_dict() for change in changes]
        print_json({**_head(selection, files), "since": since, "changes": listed})
        return
    from adwarm.fatigue.report import CHANGE_WORDS

    rows = [(CHANGE_WORDS[item.kind], item.score.ad_id, item.score.ad_name, item.text) for item in changes]
    print_table(f"{selection.name}: changed from {since} to {selection.day}", _CHANGE_COLUMNS, rows, "nothing")
    if any(item.restated for item in changes):
        print(f"The scores of {since} were calculated again or later; that day may have shown others.")


def _show_account(selection: _Selection, files: dict[str, Path], *, as_json: bool) -> None:
    from adwarm.queries.fatigue_overview import sum_account

    runtime, account, day = selection.runtime, selection.account, selection.day
    summary, is_settled = sum_account(runtime.engine, account.id, day), all(item.settled for item in selection.scores)
    if as_json:
        of_day = {"account_id": account.id, "as_of": day, **summary.to_dict(), "settled": is_settled}
        print_json({**_head(selection, files), "summary": of_day, "scores": _documents(runtime, selection.shown)})
        return
    rows = [_describe_row(runtime, item) for item in _with_parts(runtime, selection.shown)]
    open_days = "" if is_settled else ", may still be restated"
    print_table(f"{selection.name} on {day}{open_days}", _COLUMNS, rows, "none in this band")
    print(f"{summary.describe(account.currency)}.")


def _with_parts(runtime: "Runtime", items: "Sequence[StoredScore]") -> "list[StoredScore]":
    """Return scores, each creative followed by its ads."""
    from adwarm.store.scores import list_parts

    parts = list_parts(runtime.engine, [item.score for item in items])
    return [each for item in items for each in (item, *parts.get(item.key, ()))]


def _describe_row(runtime: "Runtime", item: "StoredScore") -> tuple[str | None, ...]:
    from adwarm.fatigue.recommendation import format_loss, recommend
    from adwarm.fatigue.report import describe_time_to_critical

    score = item.score
    since = f" since {score.alarm_since}" if score.alarm_since else ""
    return (
        f"└ {score.ad_id}" if score.part_of else score.ad_id,
        score.ad_name,
        score.status,
        None if score.loss is None else format_loss(max(0.0, score.loss)),
        None if score.trend_per_day is None else f"{score.trend_per_day:+z.1f}",
        None if score.total is None else f"{score.total:.0f}",
        score.driver,
        None if score.alarm == "none" else f"{score.alarm}{since}",
        describe_time_to_critical(score) or None,
        None if score.recent_spend is None else f"{score.recent_spend:,.0f}",
        recommend(score, runtime.settings.fatigue).action,
    )


def _show_worst(*, as_json: bool) -> None:
    """Show the creatives of all accounts that need action, as the page does."""
    from adwarm.queries.fatigue_ads import AccountFilter, get_first_fresh_day
    from adwarm.queries.fatigue_overview import count_due, list_due
    from adwarm.runtime import Runtime

    runtime = Runtime()
    accounts = AccountFilter(since=get_first_fresh_day(runtime.clock.now()))
    counts = count_due(runtime.engine, accounts)
    listed = list_due(runtime.engine, accounts) if counts.total else []
    if as_json:
        print_json({"scores": _documents(runtime, [ad.stored for ad in listed])})
        return
    currencies = {ad.stored.score.account_id: ad.currency for ad in listed}
    rows = []
    for item in _with_parts(runtime, [ad.stored for ad in listed]):
        cells = dict(zip(_COLUMNS, _describe_row(runtime, item), strict=True))
        spend = f"{cells['spend 7 d'] or 'unknown'} {currencies[item.score.account_id]}"
        rows.append((item.score.account_id, *(cells[name] for name in _WORST_COLUMNS), spend, cells["what to do"]))
    columns = ("account", *_WORST_COLUMNS, "spend 7 d", "what to do")
    empty = f"nothing needs action; the newest scores are of {counts.last_day}"
    if counts.last_day is None:
        empty = "no ad is scored yet"
    elif counts.is_old:
        empty = f"the newest scores are of {counts.last_day}, too old to act on"
    title = f"{counts.total:,} of {counts.scored:,} creatives need action, most spend times loss first"
    print_table(title, columns, rows, empty)


def _show_ad(selection: _Selection, files: dict[str, Path], *, as_json: bool) -> None:
    (item,), (document,) = selection.shown, _documents(selection.runtime, selection.shown)
    if as_json:
        print_json({**_head(selection, files), **document, "baseline": item.score.baseline})
        return
    score = item.score
    document["ads"] = [f"{each['ad_name']} ({each['ad_id']})" for each in document["ads"]]
    texts = {name: "; ".join(value) if isinstance(value, list) else value for name, value in document.items()}
    hidden = (*_WORDS, "account_id", "ad_id", "ad_name", "as_of")
    order = [*_WORDS, *(name for name in texts if name not in hidden)]
    fields = {name.replace("_", " "): texts[name] for name in order if texts[name] not in (None, "", "none")}
    print_fields(f"{score.ad_name or score.ad_id} ({score.ad_id}) of {selection.name} on {selection.day}", fields)


def _head(selection: _Selection, files: dict[str, Path]) -> dict[str, Any]:
    return {
        "account": selection.account.id,
        "as_of": selection.day,
        "files": {name: str(path) for name, path in files.items()},
    }


def _documents(runtime: "Runtime", items: "Sequence[StoredScore]") -> list[dict[str, Any]]:
    """Return scores as JSON values, those of creatives with their ads."""
    from adwarm.fatigue.report import describe_documents

    return describe_documents(runtime.engine, items, runtime.settings.fatigue)


def _score(account: str, day: date | None, *, as_json: bool) -> None:
    """Score an account from its stored days; exits with 1 when it cannot be scored."""
    from adwarm.fatigue.account_scores import score_accounts
    from adwarm.runtime import Runtime
    from adwarm.store import accounts, partitions

    runtime = Runtime()
    account_id = accounts.find_id(runtime.context, account)
    stored = partitions.find_newest_complete_days(runtime.engine, [account_id], runtime.settings.spec("default").hash)
    day = day or stored.get(account_id)
    result = (
        score_accounts(runtime.context, [(account_id, day)], runtime.clock.now(), runtime.pipeline) if day else None
    )
    if result is None or result.without_data:
        command = f"adwarm backfill run --accounts {account_id} --from ... --to ..."
        raise NotFound(
            f"{account_id} has no stored day{f' for a score on {day}' if day else ''}; `{command}` fetches some"
        )
    if as_json:
        print_json({"account": account_id, "as_of": day, **result.to_dict()})
    else:
        typer.echo(f"{account_id} on {day}: {result}")
        for error in result.errors:
            typer.echo(error, err=True)
        print_note(f"`adwarm fatigue {account_id}` shows the scores")
    if result.errors:
        raise typer.Exit(1)
