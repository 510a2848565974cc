"""The tables of the sizing page: what installations of 100 to 100,000 accounts need, computed by `dev/sizing.py`."""

from adwarm.settings import Settings
from dev.sizing import Installation, describe, estimate, load_facts
from reference_pages.markdown import table

SIZES = (100, 1_000, 10_000, 100_000)


def blocks() -> dict[str, str]:
    """Return the generated blocks of the sizing page by name."""
    settings, facts = Settings(), load_facts()
    texts = [describe(estimate(Installation(size), settings), settings) for size in SIZES]
    head = ("", *(f"{size:,} accounts" for size in SIZES))
    rows = [(what, *(text[what] for text in texts)) for what in texts[0]]
    costs = [(name, f"{value:,.4g}") for name, value in (facts["load"] | facts["unit_costs"]).items()]
    return {"sizes": table(head, rows), "facts": table(("measured", "value"), costs)}
