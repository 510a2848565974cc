"""The weekly digest: one short text for somebody who looks once a week. It is an alert of a kind of its own.

How warm the reports were, what it cost, what needs a person, and which creatives need action: the figures of the page.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, Engine

from adwarm.fatigue.recommendation import describe_loss, identify, recommend
from adwarm.foundation.errors import Denied
from adwarm.foundation.gate import OpenedBy, Rule
from adwarm.foundation.wording import format_count, format_some
from adwarm.planning.explanations import format_percent
from adwarm.queries.fatigue_ads import AccountFilter, ListedAd, get_first_fresh_day
from adwarm.queries.fatigue_overview import count_due, list_due
from adwarm.queries.worth import get_worth
from adwarm.recovery.alerts import StoredAlerts
from adwarm.recovery.messages import WEEKLY_DIGEST
from adwarm.settings import Settings
from adwarm.store import Context, access_tokens, alerts, read_traffic, warm_usage
from adwarm.store.gates import list_closed
from adwarm.store.scores import StoredScore, list_parts

_WEEK: Final = timedelta(weeks=1)
_EXPIRY_NOTICE: Final = timedelta(weeks=2)
"""Tokens that expire within this time are named."""
_SHOWN: Final = 5
_LIFTS: Final = {
    OpenedBy.PERSON: "`adwarm gate list` shows what opens it",
    OpenedBy.CREDENTIAL: "it needs another token",
    OpenedBy.VERSION: "it needs a newer version of the API",
}


def send_digest(context: Context, to: StoredAlerts, now: datetime) -> bool:
    """Send the digest of the week that ends at `now` through the channels, unless this week of the year had one."""
    monday = (now - timedelta(days=now.weekday())).date()
    title, text = build_digest(context, now)
    sent = []

    def build(connection: Connection) -> alerts.NewAlert | None:
        scope = f"week of {monday}"
        if alerts.was_raised(connection, WEEKLY_DIGEST, scope):
            return None
        sent.append(scope)
        step = "`adwarm status --digest` shows the digest of now."
        return alerts.NewAlert(
            at=now, kind=WEEKLY_DIGEST, scope=scope, example=title, reason=text, next_step=step, is_over=True
        )

    to.raise_about(build)
    return bool(sent)


def build_digest(context: Context, now: datetime) -> tuple[str, str]:
    """Return the title and the text of the digest of the seven days before `now`."""
    warmth, share = _describe_warmth(context.engine, now)
    needs, accounts = list_needs(context.engine, now), AccountFilter(since=get_first_fresh_day(now))
    due = count_due(context.engine, accounts)
    title = f"adwarm: {share}, {format_count(len(needs), 'thing')} to do"
    worth = get_worth(context.engine, read_traffic.get_week_totals(context.engine, now), now)
    parts = {
        "How warm": [warmth, *([str(worth)] if worth else [])],
        "What it cost": [describe_cost(context, now)],
        "What needs a person": _shorten(needs, "adwarm status") or ["nothing"],
    }
    if due.last_day is not None:  # dashboards have no ads
        title += f", {format_count(due.total, 'creative needs action', 'creatives need action')}"
        listed = list_due(context.engine, accounts) if due.total else []
        ads = list_parts(context.engine, [ad.stored.score for ad in listed])
        lines = [_describe_ad(ad, ads.get(ad.key, ()), context.settings) for ad in listed]
        parts["Creatives that need action"] = _shorten(lines, "the tab Fatigue", due.total) or [
            f"none: the newest scores are of {due.last_day}, too old to act on" if due.is_old else "none"
        ]
    return title, "\n".join(line for name, lines in parts.items() for line in (f"{name}:", *(f"- {x}" for x in lines)))


def _describe_warmth(engine: Engine, now: datetime) -> tuple[str, str]:
    """Return how warm the week was, with the week before and the use of warms; and the same in a few words."""
    week = read_traffic.get_week_totals(engine, now)
    before = read_traffic.get_week_totals(engine, now - _WEEK)["first_hit_ratio"]
    usage = warm_usage.add_up(warm_usage.get_usage(engine, now - _WEEK))
    marked = format_count(usage.marked, "warm")
    warms = "" if usage.share is None else f"; {format_percent(usage.share)} of {marked} were opened while fresh"
    if week["first_hit_ratio"] is None:
        return f"nobody opened a report through adwarm{warms}", "no opens"
    share = format_percent(week["first_hit_ratio"])
    opens = format_count(int(week["first_opens"]), "first open")
    past = "" if before is None else f" ({format_percent(before)} in the week before)"
    return f"{share} of {opens} found a fresh report{past}{warms}", f"{share} of opens fresh"


def describe_cost(context: Context, now: datetime) -> str:
    """Return the calls of the week, and the share of their budget that planned warms took."""
    week = read_traffic.get_week_totals(context.engine, now)
    causes = read_traffic.get_week_calls(context.engine, now).causes
    spent = sum(item.calls for item in causes if item.cause.kind.is_planned)
    budget = context.settings.planning.max_calls_per_hour * _WEEK // timedelta(hours=1)
    throttled = f", {int(week['throttles']):,} of them throttled by it" if week["throttles"] else ""
    waited = format_count(int(week["postponed"]), "fetch", "fetches")
    own = f"; {waited} put off by adwarm's own limits" if week["postponed"] else ""
    calls = format_count(int(week["upstream_calls"]), "call")
    return f"{calls} to the platform{throttled}{own}; warms took {spent / budget:.1%} of what their budget allows"


def list_needs(engine: Engine, now: datetime) -> list[str]:
    """Return what only a person can mend: closed gates, tokens that expire, and open alerts about anything else."""
    closed = [gate for gate in list_closed(engine, now.timestamp()) if gate.opened_by in _LIFTS]
    denied = sorted({gate.account_id or gate.scope for gate in closed if gate.rule is Rule.DENIAL})
    gates = [gate for gate in closed if gate.rule is not Rule.DENIAL]
    scopes = {gate.scope.rpartition(" ")[2] for gate in closed}
    tokens = [item.token for item in access_tokens.list_tokens(engine) if item.token.revoked_at is None]
    expiring = [item for item in tokens if item.expires_at and now < item.expires_at <= now + _EXPIRY_NOTICE]
    raised = [
        item
        for item in alerts.list_alerts(engine, open_only=True, limit=None)
        if item.scope not in scopes and not (denied and item.kind == Denied.__name__)
    ]
    return [
        *(f"{gate.scope} is closed: {gate.why or gate.rule}; {_LIFTS[gate.opened_by]}" for gate in gates),
        *([f"denied by the platform: {format_some(denied, _SHOWN)}"] if denied else []),
        *(f"the token {item.name} expires on {item.expires_at:%Y-%m-%d}; make a new one" for item in expiring),
        *(f"{item.kind} of {item.scope}: {item.next_step}" for item in raised),
    ]


def _describe_ad(ad: ListedAd, parts: Sequence[StoredScore], settings: Settings) -> str:
    score = ad.stored.score
    action = recommend(score, settings.fatigue).action.partition(":")[0]
    return f"{identify(score, parts)} {describe_loss(score) or score.status}: {action}"


def _shorten(lines: Sequence[str], where: str, total: int | None = None) -> list[str]:
    """Return the first lines, and how many more there are."""
    more = (len(lines) if total is None else total) - _SHOWN
    return [*lines[:_SHOWN], *([f"and {more} more: {where}"] if more > 0 else [])]
