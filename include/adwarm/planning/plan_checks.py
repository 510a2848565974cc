"""The steps of "why was this not warm?" that look at plans, runs and the forecast."""

from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from adwarm.foundation.wording import format_duration, format_some
from adwarm.model import Warm
from adwarm.planning.explanations import explain_opens, format_amount, format_percent
from adwarm.planning.key_checks import check_account, check_report, check_stored, check_strategies, check_switches
from adwarm.planning.key_decision import KeyDecision, Rule
from adwarm.planning.why_not_warm import (
    Check,
    Explanation,
    ForecastState,
    KeyFacts,
    Step,
    Verdict,
    explain_chain,
)

_SHOWN_ERRORS = 3
_SEVERAL_RUNS = 2.5
"""A run that is this many steps old at the moment means that later ones are missing."""


def explain_facts(facts: KeyFacts) -> Explanation:
    """Return why the key of `facts` was, or was not, warm at their moment."""
    return explain_chain(facts, CHECKS)


def check_plan(facts: KeyFacts) -> Step:
    """Check what the newest plan says whose warm would have answered the key at the moment."""
    row = facts.plan_row
    if row is None:
        text = "No plan of the days before has a warm of it that would have answered it at the moment."
        if facts.warms_from is not None and facts.at < facts.warms_from:
            text = (
                f"Not recorded: plans before {_time(facts.warms_from)} are deleted. ADWARM_RETENTION__WARM_DAYS keeps "
                "them longer."
            )
        return Step("plan", "Plan", Verdict.OK, text)
    text = f"The run {row.run_id}, decided at {_time(row.decided_at)}, has it: {_describe_row(row)}."
    because, advice = _explain_row(facts, row)
    promised = {"will_be_warm": True} if _is_promised(facts, row) else {}
    why = row.explanation.get("why")
    known = {**_row_facts(row), **promised}
    return Step(
        "plan", "Plan", Verdict.DECISIVE, f"{text} {_capital(str(why))}." if why else text, known, because, advice
    )


def check_run(facts: KeyFacts) -> Step:
    """Check whether a run of the forecast decided near the moment."""
    run = facts.run
    if run is None or run.is_missed:
        last = "none in the two days before" if run is None else f"the last one started at {_time(run.started_at)}"
        return Step(
            "run",
            "Run",
            Verdict.DECISIVE,
            f"No run of adwarm_intelligent_warming decided near the moment: {last} is recorded.",
            {"last_run": run.run_id if run else None, "last_started_at": run.started_at if run else None},
            f"because no run of adwarm_intelligent_warming decided then ({last})",
            "Check in Airflow that the DAG is not paused and that scheduler and workers are up. Runs older than "
            "ADWARM_RETENTION__JOB_DAYS are deleted.",
        )
    if run.started_at is None:
        text = f"The next decision before the moment is that of {_time(run.decided_at)}; it is still to come."
        return Step("run", "Run", Verdict.OK, text, {"decided_at": run.decided_at})
    text = f"The run {run.run_id} decided at {_time(run.decided_at)}."
    return Step("run", "Run", Verdict.OK, text, {"run_id": run.run_id, "decided_at": run.decided_at})


def check_forecast(facts: KeyFacts) -> Step:
    """Check what the forecast said at the decision, and which rule left the key out."""
    state = facts.forecast
    if state is None or state.decision is None:
        problem = state.problem if state is not None else "the forecast was not read"
        text = f"What the forecast said then cannot be computed again: {problem}."
        because = f"because no plan had it; the reason is not recorded: {problem}"
        return Step("forecast", "Forecast", Verdict.DECISIVE, text, {}, because, "Ask again for a later moment.")
    decision = state.decision
    text, because, advice = _explain_rule(facts, state, decision)
    known: dict[str, Any] = {
        "rule": str(decision.rule),
        "forecast": f"{state.snapshot_id[:12]} ({state.kind}), trained until {_time(state.trained_until)}",
        "opens_known_until": state.known_until,
        "decided_at": decision.decided_at,
        "probability": round(decision.probability, 4),
        "chance": round(decision.chance, 4),
        "min_confidence": facts.min_confidence,
        "evidence": explain_opens(decision.evidence) if decision.evidence else None,
        "predicted_open": decision.predicted_open,
        "warm_at": decision.warm_at,
        "benefit": round(decision.benefit, 4),
        "calls": round(decision.calls, 4),
    }
    if facts.is_future and decision.rule is Rule.WORTH:
        known["will_be_warm"] = True
    if state.is_assumed:
        text += (
            f" Which forecast was live then is not recorded; the newest {state.kind} one that was stored by then "
            "stands for it."
        )
    return Step("forecast", "Forecast", Verdict.DECISIVE, text, known, because, advice)


CHECKS: Final = MappingProxyType[str, Check]({
    "Account": check_account,
    "Report": check_report,
    "Switches": check_switches,
    "Stored entry": check_stored,
    "Strategies": check_strategies,
    "Plan": check_plan,
    "Run": check_run,
    "Forecast": check_forecast,
})
"""The steps in order, by their titles."""


def is_missed(seconds_since_start: float, step_seconds: float) -> bool:
    """Return whether later runs must be missing when the last one started this long before a moment."""
    return seconds_since_start > _SEVERAL_RUNS * step_seconds


def _explain_row(facts: KeyFacts, row: Warm) -> tuple[str, str]:
    """Return the clause and the advice that follow from a plan's row."""
    status = str(row.status)
    if "held_out" in {status, str(row.reason)}:
        return (
            "because its account is held out this week to measure what warming gains",
            "Nothing to do; the tab Evidence shows the measurement, and its setting ends it.",
        )
    if status == "cut":
        why = str(row.explanation.get("cut") or "the plan does not say why")
        priced = f"; worth {format_amount(row.benefit)} calls at a price of {format_amount(row.price)}"
        return f"because {_uncapital(why)}{priced}", (
            "Raise ADWARM_PLANNING__MAX_CALLS_PER_HOUR or ADWARM_PLANNING__MAX_ACCOUNT_CALLS_PER_HOUR, or the strategy's "
            "own budget, if the platform's quota allows it."
        )
    if status == "shadow":
        return (
            "because the run was in shadow mode, which plans and fetches nothing",
            "Switch shadow mode off on the tab Actions, and let the run have the mode live.",
        )
    if status == "denied":
        return (
            f"because the platform denied access to the account{_error(row)}",
            "Give the connection access to the account, then clear the task of the run.",
        )
    if status in {"failed", "stale"}:
        kept = "; the older answer was kept" if status == "stale" else ""
        return f"because its fetch failed{_error(row)}{kept}{_obstacles(facts)}", (
            "The tab Flow shows errors and limits; `adwarm errors` lists them. Retry it on the tab Actions."
        )
    return _explain_time(facts, row)


def _explain_time(facts: KeyFacts, row: Warm) -> tuple[str, str]:
    """Return the clause and the advice for a warm that was planned, and not fetched before the moment."""
    due = row.warm_at or row.decided_at
    if row.fetched_at is not None:
        late = format_duration((row.fetched_at - facts.at).total_seconds())
        due_late = "" if due > facts.at else f", although it was due at {_time(due)}"
        return (
            f"because it was fetched {late} too late, at {_time(row.fetched_at)}{due_late}{_obstacles(facts)}",
            "If this is common, give warming more time by ADWARM_PLANNING__LEAD_SECONDS, or more workers.",
        )
    if due > facts.at:
        return (
            f"because the open was expected later, at {_time(row.predicted_open)}, so its fetch was due at {_time(due)}",
            "Nothing to do: readers came earlier than usual. The forecast learns from it.",
        )
    if _is_promised(facts, row):
        return f"because the run {row.run_id} fetches it at {_time(due)}", "Nothing to do."
    return (
        f"because it was due at {_time(due)} and is not fetched yet{_obstacles(facts)}",
        "Look at the run in Airflow: its batch waits, was never started, or died. Clear the task to try again.",
    )


def _explain_rule(facts: KeyFacts, state: ForecastState, found: KeyDecision) -> tuple[str, str, str]:
    """Return text, clause and advice for the rule that left the key out."""
    key, at = facts.key, _time(found.decided_at)
    if found.rule is Rule.UNKNOWN:
        span = f"from {_time(state.trained_from)} to {_time(state.trained_until)}"
        return (
            f"The forecast does not know {key}: it was not opened in the log {span}.",
            f"because no open of it is in the log that the forecast learned from ({span})",
            "Check that its opens reach the log (`adwarm log check`). A strategy keeps it warm without any history.",
        )
    evidence = explain_opens(found.evidence) if found.evidence else "no evidence"
    chance, least = format_percent(found.chance), format_percent(facts.min_confidence)
    if found.rule is Rule.UNLIKELY:
        return (
            f"At {at} an open was {chance} likely before a fetched entry would expire, and {least} is the least that is "
            f"warmed: {evidence}.",
            f"because an open was only {chance} likely, below the {least} of ADWARM_PLANNING__MIN_CONFIDENCE: {evidence}",
            "Lower ADWARM_PLANNING__MIN_CONFIDENCE, which costs calls, or keep it warm by a strategy.",
        )
    if found.rule in {Rule.LATER, Rule.NOT_DUE}:
        peak = f"{format_percent(found.peak_probability)} at {_time(found.peak_at)}"
        now = format_percent(found.probability)
        return (
            f"At {at} an open was {now} likely in that hour, and much likelier later: {peak}. {_capital(evidence)}.",
            f"because a later hour was much likelier ({peak} against {now}), and the warm waits for it",
            "Nothing to do: readers came earlier than usual. The forecast learns from it.",
        )
    if found.rule is Rule.FRESH:
        return (
            f"At {at} the stored entry was to stay fresh until {_time(found.fresh_until)}, through the session that was "
            f"expected at {_time(found.predicted_open)}; {evidence}.",
            f"because the run found an entry that was fresh until {_time(found.fresh_until)}, past the open that it "
            f"expected at {_time(found.predicted_open)}",
            "Nothing to do; ADWARM_PLANNING__SESSION_MINUTES says how long after an expected open an entry must last.",
        )
    if found.rule is Rule.TOO_SHORT:
        return (
            f"At {at} an entry fetched at {_time(found.warm_at)} would have expired at {_time(found.expires_at)}, before "
            f"the session that was expected at {_time(found.predicted_open)} ends; {evidence}.",
            f"because an entry fetched for it would have expired at {_time(found.expires_at)}, before the session ends",
            "The range changes at the account's midnight, or its data is fresh for a short time; a reader's request "
            "fetches it. ADWARM_PLANNING__SESSION_MINUTES says how long an entry must last.",
        )
    benefit, open_value = format_amount(found.benefit), format_amount(facts.open_value)
    if found.rule is Rule.NOT_WORTH:
        return (
            f"At {at} an open was {chance} likely, which makes a warm worth {benefit} calls, less than what it costs even "
            f"while no call of the hour is spent; {evidence}.",
            f"because a warm was worth {benefit} calls ({chance} likely, {open_value} calls for an open), less than its "
            "price",
            "Raise ADWARM_PLANNING__OPEN_VALUE, or keep it warm by a strategy.",
        )
    return _explain_worth(facts, found, (at, chance, benefit, evidence))


def _explain_worth(facts: KeyFacts, found: KeyDecision, texts: tuple[str, str, str, str]) -> tuple[str, str, str]:
    """Return text, clause and advice for a key that is worth its price and has no row."""
    at, chance, benefit, evidence = texts
    said = f"At {at} an open was {chance} likely and a warm worth {benefit} calls; {evidence}."
    if facts.is_future:
        return (
            said,
            f"because the run at {at} would warm it at {_time(found.warm_at)}, unless the hourly budget cuts it",
            "Nothing to do.",
        )
    return (
        f"{said} The plan has no row of it: a plan lists the best 200 of the keys that the budget cuts.",
        "because it was worth a warm, but neither planned nor listed; the hourly budget cut it with many others, or "
        "the run knew other opens than are stored now",
        "Look at the cut keys of that run on the tab Plan.",
    )


def _is_promised(facts: KeyFacts, row: Warm) -> bool:
    """Whether a warm is planned that will be due before a moment that is still to come."""
    due = row.warm_at or row.decided_at
    return str(row.status) == "planned" and facts.is_future and due <= facts.at and row.fetched_at is None


def _obstacles(facts: KeyFacts) -> str:
    """Return what is recorded between the plan and the moment that slows fetches down; empty without anything."""
    parts = []
    if facts.errors:
        shown = [f"{error.kind} at {error.at:%H:%M} UTC" for error in facts.errors]
        parts.append(f"errors of the account: {format_some(shown, _SHOWN_ERRORS)}")
    if facts.parked:
        scopes = list(dict.fromkeys(sample.scope for sample in facts.parked))
        parts.append(f"calls were parked by {format_some(scopes, _SHOWN_ERRORS)}")
    if facts.open_breakers:
        parts.append(f"calls are refused now by {format_some(list(facts.open_breakers), _SHOWN_ERRORS)}")
    return f"; {'; '.join(parts)}" if parts else ""


def _row_facts(row: Warm) -> dict[str, Any]:
    return {
        "run_id": row.run_id,
        "warm_id": row.id,
        "decided_at": row.decided_at,
        "status": str(row.status),
        "reason": str(row.reason),
        "strategy": row.strategy,
        "confidence": round(row.confidence, 4),
        "benefit": round(row.benefit, 4),
        "price": round(row.price, 4),
        "predicted_open": row.predicted_open,
        "warm_at": row.warm_at,
        "fetched_at": row.fetched_at,
        "expires_at": row.expires_at,
        "error": row.error,
    }


def _describe_row(row: Warm) -> str:
    due = f", due at {_time(row.warm_at)}" if row.warm_at else ""
    by = f" by the strategy {row.strategy!r}" if row.strategy else ""
    return f"{row.status}, reason {str(row.reason).replace('_', ' ')}{by}{due}"


def _error(row: Warm) -> str:
    return f": {row.error}" if row.error else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _uncapital(text: str) -> str:
    return text[:1].lower() + text[1:]


def _time(moment: datetime | None) -> str:
    return "a time that is not recorded" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"
