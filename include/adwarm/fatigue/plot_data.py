"""Loads what the pages of an account and of an ad show, from stored scores and stored days."""

from collections.abc import Sequence
from datetime import timedelta

from adwarm.fatigue.account_plot import PLOT_DAYS, SMALL_PLOTS, AccountFigures
from adwarm.fatigue.ad_days import first_day_needed, list_ad_days
from adwarm.fatigue.ad_plot import AdFigures
from adwarm.fatigue.report import AccountSummary, AdChange
from adwarm.model import Account, Window
from adwarm.store import Context, score_queries
from adwarm.store.scores import StoredScore


def load_account(
    context: Context,
    account: Account,
    summary: AccountSummary,
    scores: Sequence[StoredScore],
    changes: Sequence[AdChange],
) -> AccountFigures:
    """Return what the page of an account shows.

    Args:
        context: database, objects and settings.
        account: the account.
        summary: all its ads on a day.
        scores: its scores of that day to show, what needs an action first.
        changes: what changed since the day before.
    """
    since = summary.as_of - timedelta(days=PLOT_DAYS - 1)
    scored = [item.score for item in scores if item.score.total is not None]
    notable = [score for score in scored if score.status != "healthy" or score.alarm != "none"]
    shown = [score.ad_id for score in (notable or scored)[:SMALL_PLOTS]]
    totals = score_queries.list_totals(context.engine, account.id, shown, since, summary.as_of)
    return AccountFigures(
        title=account.name or account.id,
        currency=account.currency,
        summary=summary,
        scores=scores,
        totals=totals,
        days=score_queries.sum_days(context.engine, account.id, since, summary.as_of),
        changes=changes,
        settings=context.settings.fatigue,
    )


def load_ad(context: Context, account: Account, history: Sequence[StoredScore]) -> AdFigures:
    """Return what the page of an ad shows.

    Args:
        context: database, objects and settings.
        account: the account.
        history: the scores of the ad, oldest first; at least one.

    Raises:
        Corrupt: some stored days cannot be read.
    """
    newest = history[-1].score
    first = first_day_needed(context, history[0].score.as_of)
    return AdFigures(
        title=account.name or account.id,
        currency=account.currency,
        history=history,
        days=list_ad_days(context, account.id, newest.ad_id, Window(first, newest.as_of), with_expected=True),
        settings=context.settings.fatigue,
    )
