"""What is too much to answer: pages over a weight, questions over a number of rows, and poison at any size."""

from collections.abc import Sequence

from graph_simulator.errors import GraphError
from graph_simulator.fault_profile import Poison, SizeSetting
from graph_simulator.insights import Selection

_HEAVY = dict.fromkeys(("actions", "cost_per_action_type", "unique_actions", "cost_per_unique_action_type"), 12)


def cells(fields: Sequence[str], rows: int) -> int:
    """Return the weight of so many rows with these fields; lists of actions weigh as much as a dozen figures."""
    return rows * sum(_HEAVY.get(name, 1) for name in fields)


def reduce_the_amount() -> GraphError:
    """Return the refusal of a page that cannot be computed: waiting does not help."""
    return GraphError("Please reduce the amount of data you're asking for, then retry your request", code=1, status=500)


def too_many_rows() -> GraphError:
    """Return the refusal of a question with too many rows; it says transient, and is not."""
    return GraphError(
        "(#100) There are too many rows to return; narrow the time range or the level",
        code=100,
        subcode=1487534,
        transient=True,
    )


def check_size(chosen: Selection, setting: SizeSetting, poison: Sequence[Poison]) -> None:
    """Check a synchronous question, poison first.

    Raises:
        GraphError: it is too large, or poisoned.
    """
    if is_poisoned(chosen, poison):
        raise reduce_the_amount()
    if setting.sync_rows is not None and chosen.rows > setting.sync_rows:
        raise too_many_rows()
    check_page(chosen, chosen.query.limit, setting)


def check_page(chosen: Selection, limit: int, setting: SizeSetting) -> None:
    """Check one page of up to `limit` rows, of a synchronous question or of a report.

    Raises:
        GraphError: the page is too heavy.
    """
    weight = cells(chosen.query.fields, min(chosen.rows, limit))
    if setting.page_cells is not None and weight > setting.page_cells:
        raise reduce_the_amount()


def is_poisoned(chosen: Selection, poison: Sequence[Poison]) -> bool:
    """Whether the question touches a poisoned ad or field."""
    return any(_touches(chosen, drop) for drop in poison if drop.account in {None, chosen.account})


def _touches(chosen: Selection, drop: Poison) -> bool:
    if drop.field is not None:
        return drop.field in chosen.query.fields
    return any(drop.ad == ad.truth.ad_id or drop.slot == ad.slot for ad in chosen.ads())
