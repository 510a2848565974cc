"""Fills in the sentences of `adwarm.planning.rules`: the steps of an explanation, and why a plan leaves a key out.

A sentence names what `KeyFacts` and `_Words` hold. `{x:percent}`, `{x:amount}`, `{x:until}` and `{x:reason}` format one
value; moments are UTC.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from adwarm.foundation.wording import format_duration, format_sentence, format_some, format_utc
from adwarm.planning.explanations import format_amount, format_percent
from adwarm.planning.recommendation import Recommendation
from adwarm.planning.rules import LEFT_OUT, MORE, RULES, Rule
from adwarm.planning.why_not_warm import Explanation, KeyFacts, Step, StepStatus

_SHOWN: Final = 3
_SHOWN_STRATEGIES: Final = 5
_ITEM: Final = ("confidence", "benefit", "calls", "predicted_open", "warm_at")
_ROW: Final = (
    *("run_id", "decided_at", "status", "reason", "strategy", "confidence", "benefit", "price"),
    *("predicted_open", "warm_at", "fetched_at", "expires_at", "error"),
)
"""Fields of a recommendation and of a warm that steps show."""


def explain_facts(facts: KeyFacts) -> Explanation:
    """Return why the key of `facts` was, or was not, warm at their moment: by the first step with a reason."""
    steps: list[Step] = []
    reason: Rule | None = None
    for name, rules in RULES.items():
        title = name.capitalize().replace("_", " ")
        if reason is not None:
            text = "Not looked at: an earlier step explains it."
            steps.append(Step(name, title, StepStatus.NOT_REACHED, text=text))
            continue
        rule = next(rule for rule in rules if rule.holds(facts))
        reason = rule if rule.advice else None
        details = {key: value for key, value in _list_details(name, facts).items() if value is not None}
        status = StepStatus.DECISIVE if reason else StepStatus.OK
        text = _fill_step(name, rule, facts)
        steps.append(Step(name, title, status, text=text, rule=rule.name, facts=details))
    reason = reason or RULES["forecast"][-1]
    is_warm = facts.was_warm or reason.name == "promised"
    because = f"because {_fill(reason.sentence, facts)}"
    return Explanation(
        facts.key,
        facts.at,
        facts.account.reader_zone if facts.account else "UTC",
        is_warm=is_warm,
        is_future=facts.is_future,
        steps=tuple(steps),
        because=because,
        advice=reason.advice,
    )


def describe_cut(name: str, item: object = None, **values: Any) -> dict[str, str]:
    """Return what a plan's row says about the rule of `LEFT_OUT` that leaves it out.

    Args:
        item: has what the sentence names and `values` do not.
    """
    return {"rule": name, "cut": _Filler().vformat(LEFT_OUT[name][0], (item,), values)}


def leave_out(item: Recommendation, name: str, **values: Any) -> Recommendation:
    """Return a recommendation as left out by the rule of a name, with the sentence of the rule."""
    explanation = {**item.explanation, **describe_cut(name, item, **values)}
    return replace(item, status="fresh" if name == "fresh" else "cut", explanation=explanation)


class _Filler(string.Formatter):
    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        name = str(key)
        return kwargs[name] if name in kwargs else next(getattr(item, name) for item in args if hasattr(item, name))

    def format_field(self, value: Any, format_spec: str) -> str:
        match format_spec:
            case "percent":
                return format_percent(value)
            case "amount":
                return format_amount(value)
            case "until":
                return _until(value)
            case "reason":
                return f": {value}" if value else ""
        return format_utc(value) if value is None or isinstance(value, datetime) else format(value, format_spec)


def _fill(sentence: str, facts: KeyFacts) -> str:
    decision = facts.decision
    return _Filler().vformat(sentence, (_Words(facts), facts, decision, decision.item if decision else None), {})


def _fill_step(step: str, rule: Rule, facts: KeyFacts) -> str:
    text = _fill(rule.sentence, facts)
    more = _fill(MORE.get(step, "") if rule.advice else "", facts)
    return f"{format_sentence(text)}.{more}"


class _Words:
    """What sentences name and `KeyFacts` does not hold."""

    def __init__(self, facts: KeyFacts) -> None:
        self._facts = facts

    @property
    def verb(self) -> str:
        return "is" if self._facts.is_future else "was"

    @property
    def turned_later(self) -> str:
        return format_some([f"{name} at {format_utc(at)}" for name, at in self._facts.turned_later], _SHOWN)

    @property
    def damage(self) -> str:
        return (self._facts.entry and self._facts.entry.degraded_reason) or "no reason is recorded"

    @property
    def gone_since(self) -> str:
        is_open = self._facts.is_gone and self._facts.at < self._facts.now
        return "; whether before or after the moment is not recorded" if is_open else ""

    @property
    def kept_by(self) -> str:
        names = [f"{item.name} ({item.schedule})" for item in self._facts.strategies if not item.excluded_because]
        return format_some(names, _SHOWN_STRATEGIES)

    @property
    def excluded_because(self) -> str:
        reasons = [f"{item.name} {item.excluded_because}" for item in self._facts.strategies]
        return format_some(reasons, _SHOWN_STRATEGIES, "; ")

    @property
    def plan_row(self) -> str:
        row = self._facts.row
        if row is None:
            return ""
        due = f", due at {format_utc(row.warm_at)}" if row.warm_at else ""
        by = f" by the strategy {row.strategy!r}" if row.strategy else ""
        worth = f", worth {format_amount(row.benefit)} calls at a price of {format_amount(row.price)}"
        why = str(row.explanation.get("why") or "")
        sentence = f" {format_sentence(why)}." if why else ""
        what = f"{row.status}, reason {str(row.reason).replace('_', ' ')}{by}{due}{worth}"
        return f"The run {row.run_id}, decided at {format_utc(row.decided_at)}, has it: {what}.{sentence}"

    @property
    def cut(self) -> str:
        return str(
            (self._facts.row and self._facts.row.explanation.get("cut")) or "its plan does not say why it is cut"
        )

    @property
    def older_answer(self) -> str:
        return "; the older answer was kept" if self._facts.row_status == "stale" else ""

    @property
    def lateness(self) -> str:
        fetched_at = (self._facts.row and self._facts.row.fetched_at) or self._facts.at
        late = format_duration((fetched_at - self._facts.at).total_seconds())
        due = "" if self._facts.due > self._facts.at else f", although it was due at {format_utc(self._facts.due)}"
        return f"{late} too late, at {format_utc(fetched_at)}{due}"

    @property
    def in_the_way(self) -> str:
        errors = [f"{error.kind} at {error.at:%H:%M} UTC" for error in self._facts.errors]
        parked = list(dict.fromkeys(item.scope for item in self._facts.obstacles if item.at is not None))
        refused = [item.scope for item in self._facts.obstacles if item.at is None]
        parts = {"errors of the account:": errors, "calls were parked by": parked, "calls are refused now by": refused}
        return "".join(f"; {what} {format_some(names, _SHOWN)}" for what, names in parts.items() if names)

    @property
    def last_run(self) -> str:
        run = self._facts.run
        return (
            f"the last one started at {format_utc(run.started_at)}"
            if run
            else "none in the two days before is recorded"
        )

    @property
    def next_run(self) -> str:
        next_at = self._facts.run and self._facts.run.next_at
        return f". The next one decides at {format_utc(next_at)}" if next_at else ""

    @property
    def evidence(self) -> str:
        run, item = self._facts.run, self._facts.decision and self._facts.decision.item
        return f" At {format_utc(run.decided_at)}: {item.explanation['why']}." if run and item else ""

    @property
    def answered(self) -> str:
        row = self._facts.run and self._facts.run.row
        return f", which answered it until {format_utc(row.expires_at)}" if row and row.expires_at else ""

    @property
    def assumed(self) -> str:
        if not self._facts.forecast.is_assumed:
            return ""
        return " Which forecast was live then is not recorded; the newest of its kind stored by then stands for it."


def _until(end: datetime | None) -> str:
    return "for good" if end is None else f"until {format_utc(end)}"


def _list_details(step: str, facts: KeyFacts) -> Mapping[str, Any]:
    """Return what a step shows beside its sentence; values that are None are not recorded."""
    if step == "stored_entry":
        spans = [(format_utc(span.fetched_at), _until(span.until), span.origin) for span in facts.spans[:_SHOWN]]
        texts = [f"fetched at {fetched}, fresh {end}, recorded by {origin}" for fetched, end, origin in spans]
        return {f"fetched_{number}": text for number, text in enumerate(texts, 1)}
    if step == "strategies":
        return {item.name: item.excluded_because or item.schedule for item in facts.strategies}
    if step == "plan" and facts.row is not None:
        return {"warm_id": facts.row.id, **{name: _plain(getattr(facts.row, name)) for name in _ROW}}
    snapshot, decision = facts.forecast.snapshot, facts.decision
    if step != "forecast" or decision is None or snapshot is None:
        return {}
    return {
        "forecast": f"{snapshot.id[:12]} ({snapshot.kind}), trained until {format_utc(snapshot.trained_until)}",
        "opens_known_until": facts.forecast.known_until,
        "decided_at": facts.run and facts.run.decided_at,
        "probability": round(decision.probability, 4),
        "min_confidence": facts.min_confidence,
        "evidence": decision.opens or None,
        **{name: _plain(getattr(decision.item, name, None)) for name in _ITEM},
    }


def _plain(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else str(value) if isinstance(value, StrEnum) else value
