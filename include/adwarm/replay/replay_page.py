"""The headline of a replay, and the page of a review as one HTML file that needs no network.

The templates are in `templates/`.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from adwarm.charts import (
    Axis,
    CalibrationPoint,
    Curve,
    Point,
    calibration_chart,
    load_templates,
    make_axis,
    xy_chart,
)
from adwarm.replay.policies import BOUNDS

HEADLINE_MULTIPLE = 2.0
"""Where a policy has no operating point of its own, the headline is of the replay that aimed at this multiple."""
_AS_AIMED = 0.05
"""Difference to the multiple aimed at that the headline does not mention."""
_RATIOS = ("first_open_hit_ratio", "first_open_hit_ratio_of_none")
_KINDS = ("c1", "c3", "c4", "c5", "c7", "c8", "c9")
_REVIEW_RESULTS = {
    "kept": "The live kind stays",
    "fell_back": "The population profile takes over at once",
    "proposed": "A better kind is proposed",
}
_OURS, _BOUND = "c2", "c6 dashed"


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


def render_page(document: dict[str, Any]) -> str:
    """Return the page for the document of a review (see `adwarm.replay.review.review_log`)."""
    policies, review = document["policies"], document["review"]
    with_probability = [policy for policy in policies if policy["probability"]]
    return (
        _environment()
        .get_template("replay.html")
        .render(
            **{name: document[name] for name in ("log", "rules", "policies", "compared")},
            headline=document["headline"],
            plans=[policy for policy in policies if policy["as_deployed"]],
            review=review,
            review_result=_REVIEW_RESULTS[review["verdict"]],
            curves_plot=plot_curves(policies),
            savings_plot=plot_savings(document),
            calibration_plot=plot_calibration(with_probability) if with_probability else None,
            best=_best_ratios(policies),
            differences=_differences(document["compared"]),
            bounds=BOUNDS,
            is_reference=lambda policy: bool(document["compared"]) and document["compared"]["policy"] == policy["name"],
        )
    )


@cache
def _environment() -> Environment:
    environment = load_templates("adwarm.replay")
    environment.filters["number"] = _format_number
    return environment


def _format_number(value: float | None, spec: str, unit: str = "") -> str:
    """Return `value` by a format spec with its unit; a dash for None."""
    return "–" if value is None else f"{value:{spec}}{unit}"


def _row_at_headline(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return next((row for row in rows if row["multiple"] == HEADLINE_MULTIPLE), rows[0])


def _best_ratios(policies: list[dict[str, Any]]) -> list[float]:
    """Return, per multiple, the ratio from which a cell is bold: the best of all policies but the bounds."""
    curves = [policy["read_off_curve"] for policy in policies if policy["name"] not in BOUNDS]
    columns = range(len(policies[0]["read_off_curve"]))
    return [max((curve[n]["first_open_hit_ratio"] for curve in curves), default=1.0) - 1e-12 for n in columns]


def _differences(compared: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """Return each compared policy with the reference policy's advantage over it at twice the calls."""
    against = compared["against"] if compared else {}
    return [(name, _row_at_headline(rows)) for name, rows in against.items() if name not in BOUNDS]


def plot_curves(policies: list[dict[str, Any]]) -> Markup:
    """Return the first-open hit ratio of each policy over its calls."""
    curves = []
    for number, policy in enumerate(policies):
        rows = [row for row in policy["curve"] if row["multiple"] <= 8] or policy["curve"][:1]
        points = [
            Point(
                row["multiple"],
                row["first_open_hit_ratio"],
                f"{policy['name']}: {row['first_open_hit_ratio']:.3f} at {row['multiple']:.2f}x",
                3 if len(rows) < 3 else 0,
            )
            for row in rows
        ]
        curves.append(Curve(policy["name"], points, _kind(policy["name"], number)))
    x = Axis("calls, as multiples of warming nothing", [(n, f"{n}x") for n in range(1, 6)])
    y = Axis("first-open hit ratio", [(n / 5, f"{n / 5:g}") for n in range(6)])
    return xy_chart(curves, x, y, "First-open hit ratio of each policy, by calls", size=(760, 460))


def plot_savings(document: dict[str, Any]) -> Markup:
    """Return the calls that each policy made over those that were aimed at."""
    targets = document["rules"]["targets"]
    curves, most = [Curve("as aimed", [Point(target, target) for target in targets], _BOUND)], max(targets)
    for number, policy in enumerate(document["policies"]):
        if policy["name"] in BOUNDS:
            continue
        points = []
        for row in policy["targets"]:
            hits = f"hit ratio {row['first_open_hit_ratio']:.3f}"
            text = f"{policy['name']}: aimed at {row['target']:g}x, came to {row['multiple']:.2f}x, {hits}"
            points.append(Point(row["target"], row["multiple"], text, 3))
            most = max(most, row["multiple"])
        curves.append(Curve(policy["name"], points, _kind(policy["name"], number)))
    x, y = make_axis("calls aimed at", max(targets), "x"), make_axis("calls made", most, "x")
    return xy_chart(curves, x, y, "Calls made by each policy, by calls aimed at", size=(760, 340))


def plot_calibration(policies: list[dict[str, Any]]) -> Markup:
    """Return the reliability diagram."""
    sources = {
        policy["name"]: [
            CalibrationPoint(row["stated"], row["came_true"], row["cases"]) for row in policy["probability"]["bins"]
        ]
        for policy in policies
    }
    return calibration_chart(sources, "Share that came true, by the probability that each policy stated")


def _kind(name: str, number: int) -> str:
    if name in BOUNDS:
        return _BOUND
    return _OURS if name == "adwarm" else _KINDS[number % len(_KINDS)]
