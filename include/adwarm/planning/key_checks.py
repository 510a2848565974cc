"""The steps of "why was this not warm?" that look at the account, the switches, the store and the strategies."""

from adwarm.foundation.wording import format_some, format_utc
from adwarm.planning.why_not_warm import FreshSpan, KeyFacts, Step, StepStatus, StrategyState
from adwarm.store.switches import Switch

_STOPPED = {
    Switch.CALLS: "calls are switched off",
    Switch.WARMING: "warming is switched off",
    Switch.SHADOW: "shadow mode is on, so nothing is fetched",
}
"""What each switch says while it is not in its default position."""
_SHOWN_SPANS = 3
_SHOWN_STRATEGIES = 5


def check_account(facts: KeyFacts) -> Step:
    """Check whether the account may be warmed."""
    account, name = facts.account, facts.key.account_id
    if account is None:
        text = f"The account {name} does not exist: no connection lists it, nobody names it, and no log opens it."
        if facts.was_warm or facts.plan_row is not None or facts.spans:
            return Step("account", "Account", StepStatus.OK, f"{text} It did at that time, in the default time zone.")
        return Step(
            "account",
            "Account",
            StepStatus.DECISIVE,
            text,
            because=f"because adwarm does not know the account {name}",
            advice="Check the id. `adwarm accounts list` shows the known accounts; an open of it in the log adds it.",
        )
    details = {"status": account.status, "status_reason": account.status_reason or None, "denied_at": account.denied_at}
    if account.status == "active" or facts.was_warm:
        return Step("account", "Account", StepStatus.OK, f"The account is stored, and {account.status} now.", details)
    reason = f": {account.status_reason}" if account.status_reason else ""
    since = account.denied_at if account.status == "denied" else account.updated_at
    if account.status == "denied" and since is not None and since > facts.at:
        text = f"Active at the moment, as far as recorded; access was denied later, at {format_utc(since)}."
        return Step("account", "Account", StepStatus.OK, text, details)
    if account.status == "closed" and facts.plan_row is not None:
        return Step(
            "account", "Account", StepStatus.OK, "The account is closed now; a plan still had it then.", details
        )
    advice = {
        "denied": "Give the connection access to the account, then clear the task of a run or ask for the report once; "
        "a denial ends by itself after a day.",
        "closed": "Open it with `adwarm accounts set ACCOUNT --status active`, if it is still in use.",
    }.get(account.status, "Look at `adwarm accounts list`.")
    what = {
        "denied": f"access to the account was denied at {format_utc(since)}{reason}",
        "closed": f"the account is closed{reason}; plans leave closed accounts out",
    }.get(account.status, f"the account is {account.status}{reason}")
    text = f"The account is {account.status}{reason}."
    return Step(
        name="account",
        title="Account",
        status=StepStatus.DECISIVE,
        text=text,
        facts=details,
        because=f"because {what}",
        advice=advice,
    )


def check_report(facts: KeyFacts) -> Step:
    """Check whether the report is configured."""
    if not facts.report_problem:
        return Step("report", "Report", StepStatus.OK, f"The report {facts.key.report!r} is configured.")
    return Step(
        "report",
        "Report",
        StepStatus.DECISIVE,
        f"{facts.report_problem}.",
        because=f"because the report {facts.key.report!r} is not configured, so nothing fetches it",
        advice="Define it in ADWARM_REPORTS, or ask for a configured one.",
    )


def check_switches(facts: KeyFacts) -> Step:
    """Check whether warming was switched off, or in shadow mode, at the moment."""
    turned = [(switch, switch.changed_at) for switch in facts.switches if switch.changed_at is not None]
    stops = [(switch, at) for switch, at in turned if switch.is_turned and at <= facts.at]
    later = [(switch, at) for switch, at in turned if at > facts.at]
    details = {str(switch.name): f"{'on' if switch.is_on else 'off'} since {format_utc(at)}" for switch, at in stops}
    if stops and not facts.was_warm:
        switch, since = stops[0]
        what = _STOPPED[switch.name]
        why = f' ("{switch.why}")' if switch.why else ""
        return Step(
            name="switches",
            title="Switches",
            status=StepStatus.DECISIVE,
            text=f"{what.capitalize()} since {format_utc(since)}, by {switch.changed_by}{why}.",
            facts=details,
            because=f"because {what} since {format_utc(since)}, by {switch.changed_by}",
            advice="Switch it back on the tab Actions of the page.",
        )
    text = "Calls and warming are switched on, and shadow mode is off."
    if later:
        names = format_some([f"{switch.name} at {format_utc(at)}" for switch, at in later], 3)
        text = f"Changed after the moment: {names}. What it was before is not recorded here; see the list of actions."
    elif stops:
        text = "A switch stops warming, but an entry that was fetched before was still fresh."
    return Step("switches", "Switches", StepStatus.OK, text, details)


def check_stored(facts: KeyFacts) -> Step:
    """Check whether an entry was fresh at the moment after all."""
    span = facts.fresh_span
    details = {f"fetched_{number}": _describe_span(item) for number, item in enumerate(facts.spans[:_SHOWN_SPANS], 1)}
    if span is not None and facts.is_gone:
        return _explain_gone(facts, span, details)
    if span is not None:
        verb = "is" if facts.is_future else "was"
        end = "for good" if span.until is None else f"until {format_utc(span.until)}"
        return Step(
            name="stored_entry",
            title="Stored entry",
            status=StepStatus.DECISIVE,
            text=f"An entry {verb} fresh: {_describe_span(span)}.",
            facts=details,
            because=f"because it was fetched at {format_utc(span.fetched_at)} and {verb} fresh {end}",
            advice="Nothing to do. If a reader still waited, look at the errors of the read API on the tab Flow.",
        )
    entry = facts.entry
    if entry is not None and entry.degraded and entry.fetched_at <= facts.at:
        why = entry.degraded_reason or "no reason is recorded"
        return Step(
            name="stored_entry",
            title="Stored entry",
            status=StepStatus.DECISIVE,
            text=f"The stored entry of {format_utc(entry.fetched_at)} is degraded: {why}.",
            facts={**details, "degraded_reason": why},
            because=f"because the stored entry is degraded ({why}), and a degraded entry is never fresh",
            advice="Maintenance repairs it; `adwarm warm` fetches it now.",
        )
    restated = next((item for item in facts.spans if item.restated_at and item.restated_at <= facts.at), None)
    if restated is not None and (restated.until is None or restated.until > facts.at):
        ended = format_utc(restated.restated_at)
        return Step(
            name="stored_entry",
            title="Stored entry",
            status=StepStatus.DECISIVE,
            text=f"The entry of {format_utc(restated.fetched_at)} ended at {ended}, when new data of its days arrived.",
            facts=details,
            because=f"because data of its days arrived again at {ended}, after it was fetched",
            advice="The next run warms it again if the forecast expects an open; `adwarm warm` fetches it now.",
        )
    return Step("stored_entry", "Stored entry", StepStatus.OK, _describe_history(facts), details)


def check_strategies(facts: KeyFacts) -> Step:
    """Say which strategies keep the key warm, and why the others do not. Never decisive: a plan's row is."""
    included = [item for item in facts.strategies if not item.excluded_because]
    others = [item for item in facts.strategies if item.excluded_because]
    details = {item.name: item.excluded_because or _describe_schedule(item) for item in facts.strategies}
    if not facts.strategies:
        return Step("strategies", "Strategies", StepStatus.OK, "There is no strategy.")
    if included:
        names = format_some([f"{item.name} ({_describe_schedule(item)})" for item in included], _SHOWN_STRATEGIES)
        text = f"Kept warm on a schedule by {names}."
    else:
        reasons = [f"{item.name} {item.excluded_because}" for item in others]
        text = f"No strategy keeps it warm: {format_some(reasons, _SHOWN_STRATEGIES, '; ')}."
    return Step("strategies", "Strategies", StepStatus.OK, text, details)


def _explain_gone(facts: KeyFacts, span: FreshSpan, details: dict[str, str]) -> Step:
    end = "for good" if span.until is None else f"until {format_utc(span.until)}"
    damaged = facts.entry is not None and facts.entry.degraded
    what = f"is degraded: {facts.entry.degraded_reason}" if damaged and facts.entry else "is gone: evicted or purged"
    past = "" if facts.at >= facts.now else " Whether that was before or after the moment is not recorded."
    return Step(
        name="stored_entry",
        title="Stored entry",
        status=StepStatus.DECISIVE,
        text=f"It was fetched at {format_utc(span.fetched_at)} and would be fresh {end}, but the entry {what}.{past}",
        facts=details,
        because=f"because the entry that was fetched at {format_utc(span.fetched_at)} {what}",
        advice="Warm it again with `adwarm warm`; the tab Actions lists purges.",
    )


def _describe_history(facts: KeyFacts) -> str:
    earlier = [span for span in facts.spans if span.fetched_at <= facts.at]
    if earlier:
        last = earlier[0]
        fetched, end = format_utc(last.fetched_at), format_utc(last.restated_at or last.until)
        return f"No entry was fresh. The last one before was fetched at {fetched} and ended at {end}."
    if facts.warms_from is not None and facts.at < facts.warms_from:
        return (
            f"Not recorded: warms before {format_utc(facts.warms_from)} are deleted. "
            "ADWARM_RETENTION__HISTORY_DAYS keeps them longer."
        )
    if facts.entry is not None:
        return f"No entry was fresh. The stored one was fetched later, at {format_utc(facts.entry.fetched_at)}."
    return "No entry was fresh, and no earlier fetch is recorded."


def _describe_span(span: FreshSpan) -> str:
    end = "for good" if span.until is None else f"until {format_utc(span.until)}"
    return f"fetched at {format_utc(span.fetched_at)}, fresh {end}, recorded by {span.origin}"


def _describe_schedule(item: StrategyState) -> str:
    return f"due {item.cron}, last due at {format_utc(item.last_due)}" if item.last_due else f"due {item.cron}"
