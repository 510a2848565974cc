"""The part of a review's page that a replay's page does not have: the verdict, and whose habits have moved."""

from collections.abc import Mapping
from html import escape
from typing import Any


def review_section(review: Mapping[str, Any]) -> str:
    """Return the section of a review (see `adwarm.replay.review.review_log`)."""
    verdict, why, live = _words(review["verdict"]), escape(review["why"]), escape(review["live_kind"])
    return (
        f"<h2>What this review comes to</h2><p class=lead><b>{verdict}.</b> {why}.</p>"
        f"<p>Live is a forecast of the kind <b>{live}</b>; each kind is replayed by a policy that learns as it does. "
        "Figures are at twice the calls of warming nothing; a gain is counted against the live kind, on the same "
        "resampled accounts and weeks. Calibration is broken when probabilities promise on average more than "
        f"{review['max_ece']:g} above what came true, over at least {review['min_cases']:,} cases of 10 % or more.</p>"
        + _figures(review["figures"])
        + _drift(review["drift"])
    )


def _figures(figures: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, found in figures.items():
        gain = "–"
        if found["gain"] is not None:
            low, high = found["gain_interval"]
            gain = f"{found['gain']:+.3f} ({low:+.3f} to {high:+.3f})"
        ece = "–" if found["ece"] is None else f"{found['ece']:.3f}"
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{found['hit_ratio']:.3f}</td><td>{gain}</td><td>{ece}</td>"
            f"<td>{found['overstated']:.3f}</td><td>{found['cases']:,}</td><td>{found['calls']:,}</td><td>{found['multiple']:.2f}x</td></tr>"
        )
    return (
        "<div class=wide><table><thead><tr><th>policy</th><th>first-open hit ratio</th><th>gain over the live kind</th>"
        "<th>mean gap (ECE)</th><th>of it overstated</th><th>cases at 10 % or more</th><th>calls, aiming at 2x</th>"
        "<th>achieved</th></tr>"
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _drift(drift: Mapping[str, Any]) -> str:
    index = "too few opens to tell" if drift["stability"] is None else f"{drift['stability']:.3f}"
    head = (
        "<h2>Whose habits have moved?</h2><p>Population stability compares when first opens came (hours of the day, "
        "working days apart from weekends) in training and since: 0 is no change, above 0.25 habits have moved. Of "
        f"everybody: {index}. {drift['moved']:,} of {drift['accounts']:,} accounts have moved, or are opened clearly "
        "more or less than the live kind's probabilities said.</p>"
    )
    if not drift["worst"]:
        return head
    rows = "".join(_account(found) for found in drift["worst"])
    return (
        f"{head}<div class=wide><table><thead><tr><th>account</th><th>first opens in training</th><th>since</th>"
        "<th>stability</th><th>stated</th><th>came true</th><th>what</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _account(found: Mapping[str, Any]) -> str:
    index = "–" if found["stability"] is None else f"{found['stability']:.2f}"
    return (
        f"<tr><td>{escape(found['account_id'])}</td><td>{found['before']:,}</td><td>{found['after']:,}</td>"
        f"<td>{index}</td><td>{found['stated']:,.0f}</td><td>{found['came']:,}</td>"
        f"<td class=note>{escape(found['why'])}</td></tr>"
    )


def _words(verdict: str) -> str:
    return {
        "kept": "The live kind stays",
        "fell_back": "The population profile takes over at once",
        "proposed": "A better kind is proposed",
    }[verdict]
