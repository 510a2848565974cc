"""The replay's report as one HTML file: it explains itself, and its plots need no network."""

from html import escape
from typing import Any

from adwarm.replay.plots import calibration_plot, curves_plot, plot_script, savings_plot
from adwarm.replay.policies import BOUNDS
from adwarm.replay.review_page import review_section

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 1080px; margin: 0 auto; padding: 24px; }
h1 { font-size: 26px; margin-bottom: 4px; } h2 { font-size: 20px; margin-top: 40px; }
table { border-collapse: collapse; font-size: 14px; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: right; padding: 5px 8px; border-bottom: 1px solid #e0e4e8; white-space: nowrap; }
th { color: #52606d; font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child { text-align: left; } td.note { text-align: left; white-space: normal; }
.best { font-weight: 700; } .ours td { background: #eef6ff; } .quiet { color: #616e7c; }
dt { font-weight: 600; } dd { margin: 0 0 8px 0; } .lead { font-size: 18px; }
"""


def render_page(document: dict[str, Any]) -> str:
    """Return the page of a replay's document (see `adwarm.replay.run.Replayed`), or of a review's."""
    review = review_section(document["review"]) if "review" in document else ""
    parts = [
        _opening(document),
        review,
        _words(document),
        _curves(document),
        _table(document),
        _at_targets(document),
        _calibration(document),
        _policies(document),
        _method(document),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Replay of warming policies</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style>'
        f"<script>{plot_script()}</script></head><body>{body}</body></html>\n"
    )


def _opening(document: dict[str, Any]) -> str:
    log = document["log"]
    return (
        "<h1>Which reports would have been ready when somebody opened them?</h1>"
        f"<p class=quiet>{log['test_from'][:10]} to {log['test_to'][:10]} (UTC), {log['keys']:,} reports of "
        f"{log['accounts']:,} accounts, {log['scored_opens']:,} opens, {log['scored_first_opens']:,} of them first "
        "opens.</p>"
        "<p class=lead>A dashboard report takes seconds or minutes to fetch. Whoever opens it first waits, unless it "
        "was fetched just before: <em>warmed</em>. Each call to the ad platform is metered, so warming everything is "
        "out of the question. This page plays a real access log back and shows, for each way to choose what to warm, "
        "how many people would not have had to wait, and for how many calls.</p>" + _headline(document)
    )


def _headline(document: dict[str, Any]) -> str:
    table = document["compared"]
    if not table:
        return ""
    ours = next(policy for policy in document["policies"] if policy["name"] == table["policy"])
    at = next((row for row in ours["read_off_curve"] if row["multiple"] == 2.0), ours["read_off_curve"][0])
    none = ours["curve"][0]["first_open_hit_ratio"]
    low, high = at["interval"]
    return (
        f"<p class=lead><b>{escape(table['policy'])}</b> serves {_percent(at['first_open_hit_ratio'])} of first opens "
        f"at once (95 % interval {_percent(low)} to {_percent(high)}) for {at['multiple']:g} times the calls of "
        f"warming nothing, which serves {_percent(none)}.</p>"
    )


def _words(document: dict[str, Any]) -> str:
    rules = document["rules"]
    ttl = "by class (today's data 3 hours, older data longer)"
    if rules["ttl_seconds"] != "class":
        ttl = f"{rules['ttl_seconds'] / 3600:g} hours"
    call = "a fetched report" if rules["cost"] == "key" else "an upstream request; reports fetched together share them"
    return (
        "<h2>The words</h2><dl>"
        "<dt>First open</dt><dd>An open of a report after 30 minutes in which nobody opened it. The opens that follow "
        "within a burst are served from the cache in any case; the first one is the one somebody waits for.</dd>"
        "<dt>First-open hit ratio</dt><dd>The share of first opens that found a fresh answer: nobody waited. The main "
        "figure.</dd>"
        f"<dt>Calls, as multiples</dt><dd>All fetches, ahead of an open or at one, divided by those of warming "
        f"nothing. A call is {call}. 2x means: twice the load on the platform's quota.</dd>"
        f"<dt>Fresh</dt><dd>An answer serves until it is too old: {ttl}. What is fresh is never warmed again.</dd>"
        "<dt>Cache efficiency</dt><dd>The share of warms that somebody then used. The rest was wasted.</dd>"
        "<dt>Interval</dt><dd>95 %, by drawing accounts and weeks anew a thousand times.</dd></dl>"
    )


def _curves(document: dict[str, Any]) -> str:
    return (
        "<h2>What each policy gives for its calls</h2><p>Every policy ranks reports; lowering its threshold warms more "
        "of them and moves it to the right. Higher is better, and the further left, the cheaper. The dot at 1x is "
        "warming nothing; the oracle knows the future and bounds what is possible.</p>"
        + curves_plot(document["policies"])
    )


def _table(document: dict[str, Any]) -> str:
    multiples = [row["multiple"] for row in document["policies"][0]["read_off_curve"]]
    rivals = [policy["read_off_curve"] for policy in document["policies"] if policy["name"] not in BOUNDS]
    best = [max((row[n]["first_open_hit_ratio"] for row in rivals), default=1.0) for n in range(len(multiples))]
    head = "".join(f"<th>{multiple:g}x</th>" for multiple in multiples)
    rows = []
    for policy in document["policies"]:
        bar = [2.0] * len(best) if policy["name"] in BOUNDS else best
        cells = [_reading(row, bar[n]) for n, row in enumerate(policy["read_off_curve"])]
        rows.append(f"<tr{_reference_class(document, policy)}><td>{escape(policy['name'])}</td>{''.join(cells)}</tr>")
    return (
        "<h2>First-open hit ratio at equal calls</h2><p>Read off the curves above, between neighbouring thresholds. "
        "Below each figure: its 95 % interval. A dash: the policy cannot spend that many calls; its most is shown in "
        "brackets. Bold: the best, bounds left out.</p><div class=wide><table><thead><tr><th>policy</th>"
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>" + _differences(document)
    )


def _reading(row: dict[str, Any], best: float) -> str:
    low, high = row["interval"]
    ratio = row["first_open_hit_ratio"]
    bold = " class=best" if ratio >= best - 1e-12 else ""
    text = f"{ratio:.3f}" if row["within_reach"] else f"– ({ratio:.3f})"
    return f"<td{bold}>{text}<br><span class=quiet>{low:.3f}–{high:.3f}</span></td>"


def _differences(document: dict[str, Any]) -> str:
    table = document["compared"]
    if not table:
        return ""
    rows = []
    for name, against in table["against"].items():
        if name not in BOUNDS:
            row = next((found for found in against if found["multiple"] == 2.0), against[0])
            low, high = row["interval"]
            sure = "yes" if low > 0 else ("worse" if high < 0 else "cannot tell")
            figures = f"<td>{row['difference']:+.3f}</td><td>{low:+.3f} to {high:+.3f}</td><td>{sure}</td>"
            rows.append(f"<tr><td>{escape(name)}</td>{figures}</tr>")
    return (
        f"<p>How much better is {escape(table['policy'])} at twice the calls? Both policies are judged on the same "
        "resampled accounts and weeks.</p><table><thead><tr><th>against</th><th>difference</th><th>95 % interval</th>"
        f"<th>better?</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
    )


_COLUMNS = (
    ("target", "aimed at", "{:g}x"),
    ("multiple", "achieved", "{:.2f}x"),
    ("first_open_hit_ratio", "first-open hit ratio", "{:.3f}"),
    ("hit_ratio", "hit ratio, all opens", "{:.3f}"),
    ("warms", "warms", "{:,}"),
    ("cache_efficiency", "cache efficiency", "{:.1%}"),
    ("wasted", "wasted", "{:,}"),
    ("calls", "calls", "{:,}"),
    ("age_minutes_median", "median age at open, min", "{:.0f}"),
    ("age_minutes_p95", "95th percentile", "{:.0f}"),
    ("response_seconds", "mean wait, s", "{:.2f}"),
    ("response_against_none", "against none", "{:.0%}"),
)


def _at_targets(document: dict[str, Any]) -> str:
    head = "".join(f"<th>{title}</th>" for _, title, _ in _COLUMNS)
    tables = []
    for policy in document["policies"]:
        rows = "".join(
            "<tr>" + "".join(f"<td>{_filled(form, row[name])}</td>" for name, _, form in _COLUMNS) + "</tr>"
            for row in policy["targets"]
        )
        is_open = " open" if _reference_class(document, policy) else ""
        tables.append(
            f"<details{is_open}><summary><b>{escape(policy['name'])}</b></summary><div class=wide><table>"
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
        )
    days = document["rules"]["thresholds_learned_on_days"]
    return (
        "<h2>What you would have got</h2><p>In production nobody can read a threshold off the future. Here each "
        f"threshold was learned on the last {days} days of training alone, so as to meet a target, and then kept: "
        "achieved calls may miss the target when habits changed. The wait is that of all opens on average, "
        f"a miss taking {document['rules']['fetch_seconds']:g} s.</p>" + savings_plot(document) + "".join(tables)
    )


def _calibration(document: dict[str, Any]) -> str:
    stated = [policy for policy in document["policies"] if policy["probability"]]
    if not stated:
        return ""
    rows = []
    for policy in stated:
        found = policy["probability"]
        figures = (("brier", ".4f"), ("skill", ".3f"), ("log_loss", ".4f"), ("pr_auc", ".3f"), ("ece", ".4f"))
        cells = "".join(f"<td>{_filled('{:' + form + '}', found[name])}</td>" for name, form in figures)
        share, horizon = found["ece_share_of_cases"], found["horizon_seconds"] / 60
        said = f"{found['event']} within {horizon:g} min"
        name = f"<td>{escape(policy['name'])}</td><td>{said}</td>"
        rows.append(f"<tr{_reference_class(document, policy)}>{name}{cells}<td>{share:.1%}</td></tr>")
    return (
        "<h2>Can the probabilities be believed?</h2><p>Some policies say how likely an open is. If they are honest, of "
        "all the times they said 30 %, the report was opened 30 times in a hundred: the points lie on the diagonal. "
        "Each point is a tenth of the cases that were given 10 % or more. The table says what each policy states a "
        "probability of; scores of different events cannot be compared, calibration can.</p>"
        + calibration_plot(stated)
        + "<div class=wide><table><thead><tr><th>policy</th><th>probability of</th>"
        "<th>Brier score (0 is best)</th><th>skill over a constant (1 is best)</th><th>log loss (0 is best)</th>"
        "<th>area under precision and recall (1 is best)</th><th>mean gap to the diagonal (ECE)</th>"
        f"<th>cases at 10 % or more</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _policies(document: dict[str, Any]) -> str:
    rows = "".join(f"<dt>{escape(p['name'])}</dt><dd>{escape(p['about'])}</dd>" for p in document["policies"])
    return f"<h2>The policies</h2><dl>{rows}</dl>"


def _method(document: dict[str, Any]) -> str:
    log, rules = document["log"], document["rules"]
    return (
        f"<h2>How it was done</h2><p>Training from {log['train_from'][:10]} ({log['training_opens']:,} opens), scored "
        f"from {log['test_from'][:10]} to {log['test_to'][:10]}. A decision every {rules['step_seconds'] / 60:g} "
        f"minutes sees only opens more than {rules['lag_seconds'] / 60:g} minutes old; what it warms can be served "
        f"{rules['latency_seconds']:g} seconds later, and an open before that is a miss. Policies learn anew every "
        "week. A miss fills the cache; while a fetch is on its way nobody fetches the same report again. Only opens "
        "by people count.</p>"
    )


def _reference_class(document: dict[str, Any], policy: dict[str, Any]) -> str:
    table = document["compared"]
    return " class=ours" if table and table["policy"] == policy["name"] else ""


def _filled(form: str, value: Any) -> str:
    return "–" if value is None else form.format(value)


def _percent(share: float) -> str:
    return f"{share:.1%}"
