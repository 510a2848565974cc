"""The `filtering` of a question: which ids and standings it keeps, and how many impressions a row must have."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graph_simulator.errors import bad_parameter
from graph_simulator.parameter_values import json_value

ACTIVE, ENDED = "ACTIVE", "ARCHIVED"
_KEYS = frozenset({"field", "operator", "value"})
_ID_FILTERS = {"ad.id": "ad_id", "adset.id": "adset_id", "campaign.id": "campaign_id"}
_STANDING_FILTERS = frozenset({"ad.effective_status", "adset.effective_status", "campaign.effective_status"})


@dataclass
class Filters:
    """What `filtering` says, entry by entry.

    Attributes:
        standings: what standing an ad must have; any when None.
    """

    ids: dict[str, frozenset[str]] = field(default_factory=dict)
    not_ids: dict[str, frozenset[str]] = field(default_factory=dict)
    more_impressions_than: int = 0
    standings: frozenset[str] | None = None

    def add(self, name: str, operator: str, value: Any) -> None:
        """Take one entry.

        Raises:
            GraphError: there is no such filter.
        """
        words = frozenset(str(item) for item in (value if isinstance(value, list) else [value]))
        if name in _ID_FILTERS and operator in {"IN", "EQUAL"}:
            self.ids[_ID_FILTERS[name]] = self.ids.get(_ID_FILTERS[name], words) & words
        elif name in _ID_FILTERS and operator in {"NOT_IN", "NOT_EQUAL"}:
            self.not_ids[_ID_FILTERS[name]] = self.not_ids.get(_ID_FILTERS[name], frozenset()) | words
        elif name in _STANDING_FILTERS and operator == "IN":
            self._stand(words, of_ads=name.startswith("ad."))
        elif name in {"ad.impressions", "impressions"} and operator == "GREATER_THAN" and str(value).isdecimal():
            self.more_impressions_than = max(self.more_impressions_than, int(value))
        else:
            raise bad_parameter(f"filtering does not take {name} {operator}")

    def _stand(self, words: frozenset[str], *, of_ads: bool) -> None:
        """Take the standings; campaigns and ad sets are always active, so that a filter without that keeps nothing."""
        if of_ads:
            self.standings = words if self.standings is None else self.standings & words
        elif ACTIVE not in words:
            self.standings = frozenset()


def read_filters(params: Mapping[str, str]) -> Filters:
    """Return what the parameters filter by; a filter at ad level asks for active ads unless it names their standing.

    Raises:
        GraphError: an entry is not one.
    """
    found = Filters()
    entries = json_value("filtering", params.get("filtering", "[]"))
    for entry in entries if isinstance(entries, list) else [None]:
        found.add(*filter_parts(entry))
    if entries and found.standings is None and params.get("level", "account") == "ad":
        found.standings = frozenset({ACTIVE})
    return found


def filter_parts(entry: Any) -> tuple[str, str, Any]:
    """Return field, operator and value of one entry.

    Raises:
        GraphError: it has not exactly these.
    """
    if not isinstance(entry, dict) or not set(entry) >= _KEYS:
        raise bad_parameter("filtering must be a list of objects with field, operator and value")
    more = sorted(set(entry) - _KEYS)
    if more:
        raise bad_parameter(f'Invalid keys "{", ".join(more)}" were found in param "filtering[0]".')
    return str(entry["field"]), str(entry["operator"]), entry["value"]
