"""Why a report is warm or not: one table of rules. Planning decides by their names, and every surface prints them.

A sentence names facts in braces; `adwarm.planning.rule_sentences` says which there are, and fills them in.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from adwarm.fetch_plan import SESSION
from adwarm.planning.why_not_warm import KeyFacts

_BY_STRATEGY: Final = "keep it warm by a strategy"
_NO_NEED: Final = "Nothing to do: readers came earlier than usual. The forecast learns from it."
MORE: Final = MappingProxyType({"plan": " {plan_row}", "forecast": "{evidence}{assumed}"})
"""What a step with a reason says beside it."""
_LASTS: Final = f"An entry has to last {SESSION.seconds // 60} minutes after an expected open."

LEFT_OUT: Final = MappingProxyType({
    "fresh": (
        "the stored entry stays fresh {fresh_until:until}, past the session expected at {predicted_open}",
        f"Nothing to do. {_LASTS}",
    ),
    "too_short": (
        "an entry fetched for it would expire at {expires_at}, before the session ends",
        (
            "The range changes at the account's midnight, or its data is fresh for a short time; a reader's request "
            f"fetches it. {_LASTS}"
        ),
    ),
    "budget": (
        "cut by the budget: {why}",
        (
            "Raise ADWARM_PLANNING__MAX_CALLS_PER_HOUR, ADWARM_PLANNING__MAX_ACCOUNT_CALLS_PER_HOUR or the budget of "
            "the strategy, if the platform's quota allows it."
        ),
    ),
    "stopped": (
        "not warmed: {why}",
        "Switch it on again on the tab Actions when the reason no longer applies.",
    ),
})
"""Why planning leaves a key out that it would warm otherwise: sentence and next step, by the name of the rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows when something holds.

    Attributes:
        sentence: what is so, without its period; a clause where it is the reason that a report was warm or not.
        advice: the next step; empty where this is not a reason.
    """

    name: str
    holds: Callable[[KeyFacts], object]
    sentence: str
    advice: str = ""


def _always(facts: KeyFacts) -> bool:
    del facts
    return True


def _is_decided_by(*names: str) -> Callable[[KeyFacts], bool]:
    return lambda facts: facts.decided_by in names


def _has_status(*statuses: str) -> Callable[[KeyFacts], bool]:
    return lambda facts: facts.row_status in statuses


def _is_left_out_by(name: str) -> Callable[[KeyFacts], bool]:
    return lambda facts: (
        facts.row is not None and facts.row_status == "cut" and facts.row.explanation.get("rule") == name
    )


RULES: Final = MappingProxyType[str, tuple[Rule, ...]]({
    "account": (
        Rule(
            "unknown",
            lambda facts: facts.account is None and not (facts.was_warm or facts.row or facts.spans),
            "adwarm does not know the account {key.account_id}: it is in no connection and no log",
            "Check the id. `adwarm accounts list` shows the known accounts; an open of it in the log adds it.",
        ),
        Rule(
            "unknown_now",
            lambda facts: facts.account is None,
            "The account {key.account_id} is in no connection and no log any more; it was then",
        ),
        Rule(
            "stored",
            lambda facts: facts.status == "active" or facts.was_warm,
            "The account is stored, and {account.status} now",
        ),
        Rule(
            "denied",
            lambda facts: facts.was_denied,
            "access to the account was denied at {denied_at}{account.status_reason:reason}",
            "Give the connection access to the account, then clear the task of a run or ask for the report once; a "
            "denial ends by itself after a day.",
        ),
        Rule(
            "denied_later",
            lambda facts: facts.status == "denied",
            "Active at the moment, as far as recorded; access was denied later, at {denied_at}",
        ),
        Rule("closed_later", lambda facts: facts.row, "The account is closed now; a plan still had it then"),
        Rule(
            "closed",
            _always,
            "the account is closed{account.status_reason:reason}; plans leave closed accounts out",
            "Open it with `adwarm accounts set ACCOUNT --status active`, if it is still in use.",
        ),
    ),
    "report": (
        Rule(
            "not_configured",
            lambda facts: facts.report_problem,
            "{report_problem}, so nothing fetches it",
            "Define it in ADWARM_REPORTS, or ask for a configured one.",
        ),
        Rule("configured", _always, "The report {key.report!r} is configured"),
    ),
    "switches": (
        Rule(
            "stopped",
            lambda facts: facts.stop and not facts.was_warm,
            "{stop}",
            "Switch it back on the tab Actions of the page.",
        ),
        Rule(
            "turned_later",
            lambda facts: facts.turned_later,
            "Changed later: {turned_later}. What it was before is not recorded here; see the list of actions",
        ),
        Rule(
            "fresh_before",
            lambda facts: facts.stop,
            "A switch stops warming, but an entry that was fetched before was still fresh",
        ),
        Rule("all_on", _always, "Calls and warming are switched on, and shadow mode is off"),
    ),
    "stored_entry": (
        Rule(
            "degraded",
            lambda facts: facts.is_degraded,
            "the entry of {entry.fetched_at} is degraded ({damage}), and a degraded entry is never fresh{gone_since}",
            "Maintenance repairs it; `adwarm warm` fetches it now.",
        ),
        Rule(
            "gone",
            lambda facts: facts.is_gone,
            "the entry that was fetched at {span.fetched_at} and would be fresh {span.until:until} is gone: evicted or "
            "purged{gone_since}",
            "Warm it again with `adwarm warm`; the tab Actions lists purges.",
        ),
        Rule(
            "fresh",
            lambda facts: facts.span,
            "it was fetched at {span.fetched_at} and {verb} fresh {span.until:until}, as {span.origin} says",
            "Nothing to do. If a reader still waited, look at the errors of the read API on the tab Flow.",
        ),
        Rule(
            "restated",
            lambda facts: facts.restated,
            "data of its days arrived again at {restated.restated_at}, after it was fetched at {restated.fetched_at}",
            "The next run warms it again if the forecast expects an open; `adwarm warm` fetches it now.",
        ),
        Rule(
            "expired",
            lambda facts: facts.last_span,
            "No entry was fresh. The last one was fetched at {last_span.fetched_at} and ended at {last_span.ended_at}",
        ),
        Rule(
            "not_recorded",
            lambda facts: facts.is_deleted,
            "Not recorded: warms before {warms_from} are deleted. ADWARM_RETENTION__HISTORY_DAYS keeps them longer",
        ),
        Rule(
            "fetched_later",
            lambda facts: facts.entry,
            "No entry was fresh. The stored one was fetched later, at {entry.fetched_at}",
        ),
        Rule("never_fetched", _always, "No entry was fresh, and no earlier fetch is recorded"),
    ),
    "strategies": (
        Rule(
            "kept_warm",
            lambda facts: any(not item.excluded_because for item in facts.strategies),
            "Kept warm on a schedule by {kept_by}",
        ),
        Rule("left_out", lambda facts: facts.strategies, "No strategy keeps it warm: {excluded_because}"),
        Rule("none", _always, "There is no strategy"),
    ),
    "plan": (
        Rule(
            "not_recorded",
            lambda facts: facts.row is None and facts.is_deleted,
            "Not recorded: plans before {warms_from} are deleted. ADWARM_RETENTION__HISTORY_DAYS keeps them longer",
        ),
        Rule(
            "no_row",
            lambda facts: facts.row is None,
            "No plan of the days before has a warm of it that would have answered it at the moment",
        ),
        *(Rule(name, _is_left_out_by(name), "{cut}", advice) for name, (_, advice) in LEFT_OUT.items()),
        Rule("cut", _has_status("cut"), "{cut}", "A reader's request fetches it."),
        Rule(
            "shadow",
            _has_status("shadow"),
            "the run was in shadow mode, which plans and fetches nothing",
            "Switch shadow mode off on the tab Actions, and let the run have the mode live.",
        ),
        Rule(
            "denied",
            _has_status("denied"),
            "the platform denied access to the account{row.error:reason}",
            "Give the connection access to the account, then clear the task of the run.",
        ),
        Rule(
            "failed",
            _has_status("failed", "stale"),
            "its fetch failed{row.error:reason}{older_answer}{in_the_way}",
            "The tab Flow shows errors and limits; `adwarm errors` lists them. Retry it on the tab Actions.",
        ),
        Rule(
            "late",
            lambda facts: facts.row and facts.row.fetched_at,
            "it was fetched {lateness}{in_the_way}",
            "If this is common, give warming more workers.",
        ),
        Rule(
            "due_later",
            lambda facts: facts.due > facts.at,
            "the open was expected later, at {row.predicted_open}, so its fetch was due at {due}",
            _NO_NEED,
        ),
        Rule(
            "promised",
            lambda facts: facts.is_future and facts.row_status == "planned",
            "the run {row.run_id} fetches it at {due}",
            "Nothing to do.",
        ),
        Rule(
            "waiting",
            _always,
            "it was due at {due} and is not fetched yet{in_the_way}",
            "Look at the run in Airflow: its batch waits, was never started, or died. Clear the task to try again.",
        ),
    ),
    "run": (
        Rule(
            "none",
            lambda facts: facts.run is None or facts.run.is_missed,
            "no run of adwarm_intelligent_warming decided then ({last_run})",
            "Check in Airflow that the DAG is not paused and that scheduler and workers are up. Runs older than "
            "ADWARM_RETENTION__HISTORY_DAYS are deleted.",
        ),
        Rule(
            "to_come",
            lambda facts: facts.run and facts.run.started_at is None,
            "The next decision before the moment is that of {run.decided_at}; it is still to come",
        ),
        Rule("decided", _always, "The run {run.run_id} decided at {run.decided_at}{next_run}"),
    ),
    "forecast": (
        Rule(
            "not_computed",
            lambda facts: facts.decision is None,
            "no plan has it, and what the forecast makes of it cannot be computed: {forecast.problem}",
            "Ask again for a later moment.",
        ),
        Rule(
            "unknown",
            _is_decided_by("unknown"),
            "no open of it is in the log that the forecast learned from ({forecast.snapshot.trained_from} to "
            "{forecast.snapshot.trained_until})",
            "Check that its opens reach the log with `adwarm log check`. A strategy keeps it warm without any history.",
        ),
        Rule(
            "unlikely",
            _is_decided_by("unlikely"),
            "an open was only {decision.item.confidence:percent} likely before a fetched entry would expire, below the "
            "{min_confidence:percent} of ADWARM_PLANNING__MIN_CONFIDENCE: {decision.opens}",
            f"Lower ADWARM_PLANNING__MIN_CONFIDENCE, which costs calls, or {_BY_STRATEGY}.",
        ),
        Rule(
            "later",
            _is_decided_by("later", "not_due"),
            "a later hour was much likelier ({decision.peak_probability:percent} at {decision.peak_at}, against "
            "{decision.probability:percent}), and the warm waits for it",
            _NO_NEED,
        ),
        *(Rule(name, _is_decided_by(name), *LEFT_OUT[name]) for name in ("fresh", "too_short")),
        Rule(
            "not_worth",
            _is_decided_by("not_worth"),
            "a warm was worth {decision.item.benefit:amount} calls ({decision.item.confidence:percent} likely, "
            "{open_value:amount} calls for an open), not more than its price even while no call of the hour is spent",
            f"Raise ADWARM_PLANNING__OPEN_VALUE, or {_BY_STRATEGY}.",
        ),
        Rule(
            "promised",
            lambda facts: facts.is_future,
            "the run at {run.decided_at} would fetch it at {decision.item.warm_at}, unless the hourly budget cuts it",
            "Nothing to do.",
        ),
        Rule(
            "ended",
            lambda facts: facts.run and facts.run.row,
            "the warm of the run at {run.decided_at} ({run.row.status}, due at {run.row.warm_at}) did not answer it "
            "then any more{answered}",
            "A longer freshness of the range keeps it warm longer.",
        ),
        Rule(
            "not_listed",
            _always,
            "it was worth a warm, but is not in the plan: the hourly budget cut it with many others, or the run knew "
            "other opens than are stored now",
            "Look at the cut keys of that run on the tab Plan, which lists the best 200 of them.",
        ),
    ),
})
"""By step: the first rule that holds speaks, and the last one of a step holds whenever it is asked."""
