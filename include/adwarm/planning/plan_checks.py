"""The steps of "why was this not warm?" that look at plans, runs and the forecast."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from adwarm.fetch_plan import SESSION
from adwarm.foundation.wording import format_duration, format_some, format_utc
from adwarm.model import Warm
from adwarm.planning.explanations import BUDGET_CUT, explain_opens, format_amount, format_percent
from adwarm.planning.key_checks import check_account, check_report, check_stored, check_strategies, check_switches
from adwarm.planning.key_decision import KeyDecision, Rule
from adwarm.planning.why_not_warm import Check, Explanation, ForecastState, KeyFacts, Step, StepStatus, explain_chain

_SESSION_MINUTES: Final = SESSION.seconds // 60


class RuleSentences(NamedTuple):
    """What was decided, the same as a clause that starts with `because`, and what to do."""

    text: str
    because: str
    advice: str


def explain_rule(facts: KeyFacts, state: ForecastState, decision: KeyDecision) -> RuleSentences:
    """Return the sentences about the rule of a decision."""
    if decision.rule is Rule.UNKNOWN:
        return _explain_unknown(facts, state)
    return _SENTENCES[decision.rule](facts, decision)


def _explain_unknown(facts: KeyFacts, state: ForecastState) -> RuleSentences:
    span = f"from {format_utc(state.trained_from)} to {format_utc(state.trained_until)}"
    return RuleSentences(
        f"The forecast does not know {facts.key}: it was not opened in the log {span}.",
        f"because no open of it is in the log that the forecast learned from ({span})",
        "Check that its opens reach the log with `adwarm log check`. A strategy keeps it warm without any history.",
    )


def _explain_unlikely(facts: KeyFacts, decision: KeyDecision) -> RuleSentences:
    chance, least = format_percent(decision.chance), format_percent(facts.min_confidence)
    text = (
        f"At {format_utc(decision.decided_at)} an open was {chance} likely before a fetched entry would expire, and "
        f"{least} is the least that is warmed: {_opens(decision)}."
    )
    because = (
        f"because an open was only {chance} likely, below the {least} of ADWARM_PLANNING__MIN_CONFIDENCE: "
        f"{_opens(decision)}"
    )
    advice = "Lower ADWARM_PLANNING__MIN_CONFIDENCE, which costs calls, or keep it warm by a strategy."
    return RuleSentences(text, because, advice)


def _explain_later(facts: KeyFacts, decision: KeyDecision) -> RuleSentences:
    del facts
    peak = f"{format_percent(decision.peak_probability)} at {format_utc(decision.peak_at)}"
    now = format_percent(decision.probability)
    text = (
        f"At {format_utc(decision.decided_at)} an open was {now} likely in that hour, and much likelier later, {peak}: "
        f"{_opens(decision)}."
    )
    because = f"because a later hour was much likelier ({peak}, against {now}), and the warm waits for it"
    return RuleSentences(text, because, "Nothing to do: readers came earlier than usual. The forecast learns from it.")


def _explain_fresh(facts: KeyFacts, decision: KeyDecision) -> RuleSentences:
    del facts
    until, opens = format_utc(decision.fresh_until), format_utc(decision.predicted_open)
    text = (
        f"At {format_utc(decision.decided_at)} the stored entry was to stay fresh until {until}, through the session "
        f"that was expected at {opens}; {_opens(decision)}."
    )
    because = f"because the run found an entry that was fresh until {until}, past the open that it expected at {opens}"
    advice = f"Nothing to do; an entry has to last {_SESSION_MINUTES} minutes after an expected open."
    return RuleSentences(text, because, advice)


def _explain_too_short(facts: KeyFacts, decision: KeyDecision) -> RuleSentences:
    del facts
    end = format_utc(decision.expires_at)
    text = (
        f"At {format_utc(decision.decided_at)} an entry fetched at {format_utc(decision.warm_at)} would have expired "
        f"at {end}, before the session that was expected at {format_utc(decision.predicted_open)} ends; "
        f"{_opens(decision)}."
    )
    because = f"because an entry fetched for it would have expired at {end}, before the session ends"
    advice = (
        "The range changes at the account's midnight, or its data is fresh for a short time; a reader's request "
        f"fetches it. An entry has to last {_SESSION_MINUTES} minutes after an expected open."
    )
    return RuleSentences(text, because, advice)


def _explain_not_worth(facts: KeyFacts, decision: KeyDecision) -> RuleSentences:
    benefit, chance = format_amount(decision.benefit), format_percent(decision.chance)
    text = (
        f"At {format_utc(decision.decided_at)} an open was {chance} likely, which makes a warm worth {benefit} calls, "
        f"not more than what it costs even while no call of the hour is spent; {_opens(decision)}."
    )
    because = (
        f"because a warm was worth {benefit} calls ({chance} likely, {format_amount(facts.open_value)} calls for an "
        "open), not more than its price"
    )
    return RuleSentences(text, because, "Raise ADWARM_PLANNING__OPEN_VALUE, or keep it warm by a strategy.")


def _explain_worth(facts: KeyFacts, decision: KeyDecision) -> RuleSentences:
    """Return the sentences about a key that is worth its price although no plan has a row of it."""
    at = format_utc(decision.decided_at)
    said = (
        f"At {at} an open is {format_percent(decision.chance)} likely and a warm worth "
        f"{format_amount(decision.benefit)} calls; {_opens(decision)}."
    )
    if facts.is_future:
        due = format_utc(decision.warm_at)
        because = f"because the run at {at} would fetch it at {due}, unless the hourly budget cuts it"
        return RuleSentences(said, because, "Nothing to do.")
    row = facts.run.row if facts.run else None
    if row is not None:
        ended = f", which answered it until {format_utc(row.expires_at)}" if row.expires_at else ""
        stays = f"The plan has it: {row.status}, due at {format_utc(row.warm_at)}{ended}."
        because = f"because the warm of the run at {at} did not answer it then any more{ended}"
        return RuleSentences(f"{said} {stays}", because, "A longer freshness of the range keeps it warm longer.")
    text = f"{said} The plan has no row of it: a plan lists the best 200 of the keys that the budget cuts."
    because = (
        "because it was worth a warm, but is not in the plan: the hourly budget cut it with many others, or the run "
        "knew other opens than are stored now"
    )
    return RuleSentences(text, because, "Look at the cut keys of that run on the tab Plan.")


_SENTENCES: Final = MappingProxyType[Rule, Callable[[KeyFacts, KeyDecision], RuleSentences]]({
    Rule.UNLIKELY: _explain_unlikely,
    Rule.LATER: _explain_later,
    Rule.NOT_DUE: _explain_later,
    Rule.FRESH: _explain_fresh,
    Rule.TOO_SHORT: _explain_too_short,
    Rule.NOT_WORTH: _explain_not_worth,
    Rule.WORTH: _explain_worth,
})


def _opens(decision: KeyDecision) -> str:
    return explain_opens(decision.evidence) if decision.evidence else "no evidence"


_SHOWN_ERRORS = 3
_ADVICE_BY_CUT: Final = {"not warmed": "Switch it on again on the tab Actions when the reason no longer applies."}
_ADVICE_OTHERWISE: Final = (
    f"No budget cut it: a reader's request fetches it. An entry has to last {SESSION.seconds // 60} minutes after an "
    "expected open."
)
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
                f"Not recorded: plans before {format_utc(facts.warms_from)} are deleted. "
                "ADWARM_RETENTION__HISTORY_DAYS keeps them longer."
            )
        return Step("plan", "Plan", StepStatus.OK, text)
    text = f"The run {row.run_id}, decided at {format_utc(row.decided_at)}, has it: {_describe_row(row)}."
    because, advice = _explain_row(facts, row)
    promised = {"will_be_warm": True} if _is_promised(facts, row) else {}
    why = row.explanation.get("why")
    details = {**_row_facts(row), **promised}
    text = f"{text} {str(why)[:1].upper()}{str(why)[1:]}." if why else text
    return Step(
        name="plan", title="Plan", status=StepStatus.DECISIVE, text=text, facts=details, because=because, advice=advice
    )


def check_run(facts: KeyFacts) -> Step:
    """Check whether a run of the forecast decided near the moment."""
    run = facts.run
    if run is None or run.is_missed:
        last = "none in the two days before" if run is None else f"the last one started at {format_utc(run.started_at)}"
        return Step(
            name="run",
            title="Run",
            status=StepStatus.DECISIVE,
            text=f"No run of adwarm_intelligent_warming decided near the moment: {last} is recorded.",
            facts={"last_run": run.run_id if run else None, "last_started_at": run.started_at if run else None},
            because=f"because no run of adwarm_intelligent_warming decided then ({last})",
            advice="Check in Airflow that the DAG is not paused and that scheduler and workers are up. Runs older than "
            "ADWARM_RETENTION__HISTORY_DAYS are deleted.",
        )
    if run.started_at is None:
        text = f"The next decision before the moment is that of {format_utc(run.decided_at)}; it is still to come."
        return Step("run", "Run", StepStatus.OK, text, {"decided_at": run.decided_at})
    text = f"The run {run.run_id} decided at {format_utc(run.decided_at)}."
    details = {"run_id": run.run_id, "decided_at": run.decided_at}
    if run.next_at is not None:
        text += f" The next one decides at {format_utc(run.next_at)}."
        details["next_decided_at"] = run.next_at
    return Step("run", "Run", StepStatus.OK, text, details)


def check_forecast(facts: KeyFacts) -> Step:
    """Check what the forecast said at the decision, and which rule left the key out."""
    state = facts.forecast
    if state is None or state.decision is None:
        problem = state.problem if state is not None else "the forecast was not read"
        text = f"What the forecast said then cannot be computed again: {problem}."
        because = f"because no plan had it; the reason is not recorded: {problem}"
        return Step(
            name="forecast",
            title="Forecast",
            status=StepStatus.DECISIVE,
            text=text,
            facts={},
            because=because,
            advice="Ask again for a later moment.",
        )
    decision = state.decision
    text, because, advice = explain_rule(facts, state, decision)
    details: dict[str, Any] = {
        "rule": str(decision.rule),
        "forecast": f"{state.snapshot_id[:12]} ({state.kind}), trained until {format_utc(state.trained_until)}",
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
        details["will_be_warm"] = True
    if state.is_assumed:
        text += (
            f" Which forecast was live then is not recorded; the newest {state.kind} one that was stored by then "
            "stands for it."
        )
    return Step(
        name="forecast",
        title="Forecast",
        status=StepStatus.DECISIVE,
        text=text,
        facts=details,
        because=because,
        advice=advice,
    )


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
    if status == "cut":
        why = str(row.explanation.get("cut") or "the plan does not say why")
        if not why.startswith(BUDGET_CUT):
            return f"because {_uncapital(why)}", _ADVICE_BY_CUT.get(why.partition(":")[0], _ADVICE_OTHERWISE)
        priced = f"; worth {format_amount(row.benefit)} calls at a price of {format_amount(row.price)}"
        return f"because {_uncapital(why)}{priced}", (
            "Raise ADWARM_PLANNING__MAX_CALLS_PER_HOUR, ADWARM_PLANNING__MAX_ACCOUNT_CALLS_PER_HOUR or the budget of "
            "the strategy, if the platform's quota allows it."
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
        older = "; the older answer was kept" if status == "stale" else ""
        return f"because its fetch failed{_error(row)}{older}{_obstacles(facts)}", (
            "The tab Flow shows errors and limits; `adwarm errors` lists them. Retry it on the tab Actions."
        )
    return _explainformat_utc(facts, row)


def _explainformat_utc(facts: KeyFacts, row: Warm) -> tuple[str, str]:
    """Return the clause and the advice for a warm that was planned, and not fetched before the moment."""
    due = row.warm_at or row.decided_at
    if row.fetched_at is not None:
        late = format_duration((row.fetched_at - facts.at).total_seconds())
        due_late = "" if due > facts.at else f", although it was due at {format_utc(due)}"
        return (
            f"because it was fetched {late} too late, at {format_utc(row.fetched_at)}{due_late}{_obstacles(facts)}",
            "If this is common, give warming more workers.",
        )
    if due > facts.at:
        opens = format_utc(row.predicted_open)
        return (
            f"because the open was expected later, at {opens}, so its fetch was due at {format_utc(due)}",
            "Nothing to do: readers came earlier than usual. The forecast learns from it.",
        )
    if _is_promised(facts, row):
        return f"because the run {row.run_id} fetches it at {format_utc(due)}", "Nothing to do."
    return (
        f"because it was due at {format_utc(due)} and is not fetched yet{_obstacles(facts)}",
        "Look at the run in Airflow: its batch waits, was never started, or died. Clear the task to try again.",
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
    if parked := list(dict.fromkeys(item.scope for item in facts.obstacles if item.at is not None)):
        parts.append(f"calls were parked by {format_some(parked, _SHOWN_ERRORS)}")
    if refused := [item.scope for item in facts.obstacles if item.at is None]:
        parts.append(f"calls are refused now by {format_some(refused, _SHOWN_ERRORS)}")
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
    due = f", due at {format_utc(row.warm_at)}" if row.warm_at else ""
    by = f" by the strategy {row.strategy!r}" if row.strategy else ""
    return f"{row.status}, reason {str(row.reason).replace('_', ' ')}{by}{due}"


def _error(row: Warm) -> str:
    return f": {row.error}" if row.error else ""


def _uncapital(text: str) -> str:
    return text[:1].lower() + text[1:]
