"""The sentences that say which rule of a decision left a key out, for "why was this not warm?"."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Final, NamedTuple

from adwarm.foundation.wording import format_utc
from adwarm.planning.explanations import explain_opens, format_amount, format_percent
from adwarm.planning.key_decision import KeyDecision, Rule
from adwarm.planning.plan import SESSION
from adwarm.planning.why_not_warm import ForecastState, KeyFacts

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


def _explain_unlikely(facts: KeyFacts, found: KeyDecision) -> RuleSentences:
    chance, least = format_percent(found.chance), format_percent(facts.min_confidence)
    text = (
        f"At {format_utc(found.decided_at)} an open was {chance} likely before a fetched entry would expire, and "
        f"{least} is the least that is warmed: {_opens(found)}."
    )
    because = (
        f"because an open was only {chance} likely, below the {least} of ADWARM_PLANNING__MIN_CONFIDENCE: "
        f"{_opens(found)}"
    )
    advice = "Lower ADWARM_PLANNING__MIN_CONFIDENCE, which costs calls, or keep it warm by a strategy."
    return RuleSentences(text, because, advice)


def _explain_later(facts: KeyFacts, found: KeyDecision) -> RuleSentences:
    del facts
    peak = f"{format_percent(found.peak_probability)} at {format_utc(found.peak_at)}"
    now = format_percent(found.probability)
    text = (
        f"At {format_utc(found.decided_at)} an open was {now} likely in that hour, and much likelier later, {peak}: "
        f"{_opens(found)}."
    )
    because = f"because a later hour was much likelier ({peak}, against {now}), and the warm waits for it"
    return RuleSentences(text, because, "Nothing to do: readers came earlier than usual. The forecast learns from it.")


def _explain_fresh(facts: KeyFacts, found: KeyDecision) -> RuleSentences:
    del facts
    until, opens = format_utc(found.fresh_until), format_utc(found.predicted_open)
    text = (
        f"At {format_utc(found.decided_at)} the stored entry was to stay fresh until {until}, through the session that "
        f"was expected at {opens}; {_opens(found)}."
    )
    because = f"because the run found an entry that was fresh until {until}, past the open that it expected at {opens}"
    advice = f"Nothing to do; an entry has to last {_SESSION_MINUTES} minutes after an expected open."
    return RuleSentences(text, because, advice)


def _explain_too_short(facts: KeyFacts, found: KeyDecision) -> RuleSentences:
    del facts
    end = format_utc(found.expires_at)
    text = (
        f"At {format_utc(found.decided_at)} an entry fetched at {format_utc(found.warm_at)} would have expired at "
        f"{end}, before the session that was expected at {format_utc(found.predicted_open)} ends; {_opens(found)}."
    )
    because = f"because an entry fetched for it would have expired at {end}, before the session ends"
    advice = (
        "The range changes at the account's midnight, or its data is fresh for a short time; a reader's request "
        f"fetches it. An entry has to last {_SESSION_MINUTES} minutes after an expected open."
    )
    return RuleSentences(text, because, advice)


def _explain_not_worth(facts: KeyFacts, found: KeyDecision) -> RuleSentences:
    benefit, chance = format_amount(found.benefit), format_percent(found.chance)
    text = (
        f"At {format_utc(found.decided_at)} an open was {chance} likely, which makes a warm worth {benefit} calls, not "
        f"more than what it costs even while no call of the hour is spent; {_opens(found)}."
    )
    because = (
        f"because a warm was worth {benefit} calls ({chance} likely, {format_amount(facts.open_value)} calls for an "
        "open), not more than its price"
    )
    return RuleSentences(text, because, "Raise ADWARM_PLANNING__OPEN_VALUE, or keep it warm by a strategy.")


def _explain_worth(facts: KeyFacts, found: KeyDecision) -> RuleSentences:
    """Return the sentences about a key that is worth its price although no plan has a row of it."""
    at = format_utc(found.decided_at)
    said = (
        f"At {at} an open is {format_percent(found.chance)} likely and a warm worth {format_amount(found.benefit)} "
        f"calls; {_opens(found)}."
    )
    if facts.is_future:
        because = (
            f"because the run at {at} would fetch it at {format_utc(found.warm_at)}, unless the hourly budget cuts it"
        )
        return RuleSentences(said, because, "Nothing to do.")
    row = facts.run.row if facts.run else None
    if row is not None:
        ended = f", which answered it until {format_utc(row.expires_at)}" if row.expires_at else ""
        kept = f"The plan has it: {row.status}, due at {format_utc(row.warm_at)}{ended}."
        because = f"because the warm of the run at {at} did not answer it then any more{ended}"
        return RuleSentences(f"{said} {kept}", because, "A longer freshness of the range keeps it warm longer.")
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


def _opens(found: KeyDecision) -> str:
    return explain_opens(found.evidence) if found.evidence else "no evidence"
