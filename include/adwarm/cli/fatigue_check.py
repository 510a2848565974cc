"""`adwarm fatigue-check`: compares an account's scores with the platform's own notices of fatigue."""

from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.options import AccountArgument, JsonOption
from adwarm.cli.output import print_json, print_table

if TYPE_CHECKING:
    from adwarm.fatigue.platform_check import PlatformCheck, Share


def fatigue_check(
    account: AccountArgument,
    *,
    days: Annotated[int, typer.Option(min=1, max=1_000, help="Compare the scores of so many days.")] = 90,
    min_level: Annotated[
        str, typer.Option(help="Mildest level that counts as a notice of fatigue: low, medium or high.")
    ] = "medium",
    as_json: JsonOption = False,
) -> None:
    """Compare an account's scores and alarms with Meta's notices of creative fatigue.

    It shows how many ads with a notice had a warning, a critical score or an alarm by then, how many days before or
    after, how many alarms came without a notice, and how well both rank the ads.
    """
    from datetime import UTC, datetime, time, timedelta

    from adwarm.fatigue.notice_formats import parse_level
    from adwarm.fatigue.platform_check import BEFORE_DAYS, check_against_platform
    from adwarm.foundation.errors import BadRequest, NotFound
    from adwarm.model import normalize_account_id
    from adwarm.runtime import Runtime
    from adwarm.store import platform_fatigue, score_signals

    try:
        level = parse_level(min_level)
    except BadRequest as error:
        raise BadRequest(f"--min-level {min_level[:20]!r}: {error}") from None
    runtime = Runtime()
    account_id = normalize_account_id(account)
    since = runtime.clock.now().date() - timedelta(days=days)
    signals = score_signals.list_signals(runtime.engine, account_id, since)
    if not signals:
        raise NotFound(f"{account_id} has no scores since {since}; run the DAG adwarm_daily_insights for it")
    start = datetime.combine(since, time(), UTC)
    notices = platform_fatigue.list_since(runtime.engine, account_id, start - timedelta(days=BEFORE_DAYS))
    if not notices:
        raise NotFound(
            f"{account_id} has no notices of Meta since {since}; set up the webhook, or load a file with "
            "adwarm notify-fatigue"
        )
    check = check_against_platform(signals, notices, level)
    if as_json:
        print_json({"account": account_id, **check.to_dict()})
    else:
        _print(account_id, check)


def _print(account_id: str, check: "PlatformCheck") -> None:
    from adwarm.fatigue.platform_check import FEW
    from adwarm.foundation.wording import format_count

    rows = [
        (
            item.signal,
            _describe(item.by_then),
            item.later,
            item.never,
            item.lead_days,
            None if item.lead_quartiles is None else "{:g} to {:g}".format(*item.lead_quartiles),
        )
        for item in check.signals
    ]
    columns = ("signal", "by the notice", "later", "never", "days ahead", "middle half")
    title = f"{account_id}, {check.since} to {check.until}: {format_count(check.noticed, 'scored ad')} with a notice"
    print_table(f"{title} of level {check.min_level} or higher", columns, rows)
    if any(item.lead_days is not None for item in check.signals):
        typer.echo("Days ahead: median days from the signal to the notice; negative when the notice came first.")
    if check.unscored:
        typer.echo(f"{format_count(check.unscored, 'ad')} with a notice had no score before it.")
    typer.echo(f"Alarms without a notice: {_describe(check.alarms_without_notice)}.")
    typer.echo(f"Rank agreement of level and score on {check.until}: {_describe_rank(check)}.")
    if not check.is_meaningful:
        typer.echo(f"Fewer than {FEW} ads with a notice: too few to say whether both agree.")


def _describe(share: "Share") -> str:
    if share.low is None or share.high is None:
        return "none"
    return f"{share.count} of {share.total} ({share.low:.0%} to {share.high:.0%})"


def _describe_rank(check: "PlatformCheck") -> str:
    if check.concordance is None:
        return "unknown, no two ads differ in level"
    if check.concordance_low is None or check.concordance_high is None:
        return f"{check.concordance:.2f}, too few ads for an interval (0.5 is chance)"
    interval = f"{check.concordance_low:.2f} to {check.concordance_high:.2f}"
    return f"{check.concordance:.2f} ({interval}; 0.5 is chance, 1 is the same order)"
