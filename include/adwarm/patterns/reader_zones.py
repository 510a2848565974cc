"""The accounts that opens name, each with the time zone of its readers."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc


def find_zones(opens: pa.Table) -> dict[str, str]:
    """Return by account the last reader zone that its rows name, empty when none does.

    Args:
        opens: slots or events, in order, with the columns `account_id` and `time_zone`, dictionary-encoded.
    """
    zones = dict.fromkeys(pc.unique(opens["account_id"]).to_pylist(), "")
    if any(pc.unique(opens["time_zone"]).to_pylist()):
        frame = opens.select(["account_id", "time_zone"]).to_pandas()
        named = frame[frame["time_zone"] != ""].drop_duplicates("account_id", keep="last")
        zones.update(zip(named["account_id"].tolist(), named["time_zone"].tolist(), strict=True))
    return zones


def add_zones(zones: dict[str, str], later: Mapping[str, str]) -> None:
    """Add the zones of later opens to `zones`; an account whose later opens name none keeps its zone."""
    for name, zone in later.items():
        zones[name] = zone or zones.get(name, "")
