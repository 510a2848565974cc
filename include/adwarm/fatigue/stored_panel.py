"""The stored days of one account as a panel, for reading commands and pages."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from adwarm.fatigue.compat import compat_scores
from adwarm.fatigue.panel import AdPanel, empty_figures, read_panel
from adwarm.foundation.errors import Corrupt
from adwarm.model import FatigueScore, Window
from adwarm.store import Context, partitions
from adwarm.store.partition_rows import DamagedObjects, daily_texts

_FIELDS: Final = frozenset({
    "account_id",
    "ad_id",
    "ad_name",
    "clicks",
    "date_start",
    "impressions",
    "inline_link_clicks",
    "spend",
})
_COMPAT_DAYS: Final = 60


def load_panel(context: Context, account_id: str, window: Window) -> AdPanel:
    """Return the figures of the account's ads in a window.

    Raises:
        Corrupt: some stored days cannot be read.
        BadRequest: a stored row or number cannot be read.
    """
    spec_hash = context.settings.spec("default").hash
    found = partitions.list_contents(context.engine, [account_id], spec_hash, window.since).get(account_id, [])
    contents = {item.day: item for item in found if item.day in window}
    try:
        table = daily_texts(context.objects, contents, window, _FIELDS)
    except DamagedObjects as error:
        raise Corrupt(f"days of {account_id} cannot be read: {error}; run `adwarm verify --repair`") from None
    return read_panel({account_id: table}, window.since, window.until, {account_id: list(contents)})


def score_by_version(context: Context, scores: Sequence[FatigueScore], version: str) -> dict[str, float]:
    """Return what an earlier version of the score gives ads of one account and day, by ad id, where it gives anything.

    Args:
        context: database, objects and settings.
        scores: the stored scores of the ads, at least one; their frequencies are used.
        version: see `adwarm.fatigue.compat`.

    Raises:
        BadRequest: there is no such version, or a stored row cannot be read.
        Corrupt: some stored days cannot be read.
    """
    account_id, day = scores[0].account_id, scores[0].as_of
    panel = load_panel(context, account_id, Window(day - timedelta(days=_COMPAT_DAYS - 1), day))
    frequencies = empty_figures(len(panel.ad_ids), panel.days)
    known = {score.ad_id: score.baseline.get("frequency") for score in scores}
    for row, ad_id in enumerate(panel.ad_ids):
        if (value := known.get(ad_id)) is not None:
            frequencies[row, -1] = value
    values = compat_scores(panel, frequencies, version)[:, -1]
    by_id = dict(zip(panel.ad_ids, values.tolist(), strict=True))
    return {ad_id: value for ad_id, value in by_id.items() if ad_id in known and value == value}
