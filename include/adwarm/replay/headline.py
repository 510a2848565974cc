"""The headline of a replay: the multiple of calls that was achieved, and what it gave."""

from collections.abc import Mapping
from typing import Any

HEADLINE_MULTIPLE = 2.0
"""Where a policy has no operating point of its own, the headline is of the replay that aimed at this multiple."""
_AS_AIMED = 0.05
"""Difference to the multiple aimed at that the headline does not mention."""
_RATIOS = ("first_open_hit_ratio", "first_open_hit_ratio_of_none")


def get_headline(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the headline as JSON values, and the sentence as `text`, without a period.

    They are of the policy that the others are compared with, else of the only one. A forecast's are those of its
    deployed plan, a rule's those at the threshold that aimed at `HEADLINE_MULTIPLE`.
    """
    compared = document["compared"]
    policies = {policy["name"]: policy for policy in document["policies"]}
    name = compared["policy"] if compared else next(iter(policies))
    figures = _get_figures(policies[name])
    return {"policy": name, **figures, "text": _format(figures)}


def _get_figures(policy: Mapping[str, Any]) -> dict[str, Any]:
    names = ("multiple", "calls", "first_open_hit_ratio")
    none = policy["curve"][0]["first_open_hit_ratio"]
    if policy["as_deployed"]:
        plan = policy["as_deployed"]
        return {"target": None, **{name: plan[name] for name in names}, "first_open_hit_ratio_of_none": none}
    row = min(policy["targets"], key=lambda target: abs(target["target"] - HEADLINE_MULTIPLE))
    return {
        "target": row["target"],
        **{name: row[name] for name in names},
        "first_open_hit_ratio_of_none": none,
    }


def _format(figures: Mapping[str, Any]) -> str:
    target, multiple = figures["target"], figures["multiple"]
    aimed = "" if target is None or abs(multiple - target) < _AS_AIMED else f" (aimed at {target:g} x)"
    ratio, none = (f"{100 * figures[name]:.1f} %" for name in _RATIOS)
    return (
        f"With {multiple:.2f} x the calls of no warming{aimed}, {ratio} of first opens found a fresh report "
        f"(no warming: {none})"
    )
