"""What `filtering` selects: ads by id, name and status, and rows by their figures, with the platform's operators.

Ids and names take `_TEXT_TESTS`, figures `_FIGURE_TESTS`, and a status takes IN.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from graph_simulator.error_responses import bad_parameter
from graph_simulator.figures import COUNTS, RATIOS, Figures
from graph_simulator.levels import ACTIVE, LEVELS
from graph_simulator.parameters import json_value

_KEYS = frozenset({"field", "operator", "value"})
_TEXTS = frozenset(f"{level}.{part}" for level in LEVELS[1:] for part in ("id", "name"))
_STATUSES = frozenset(f"{level}.effective_status" for level in LEVELS[1:])
TextTest = Callable[[str], bool]
FigureTest = Callable[[Figures], npt.NDArray[np.bool_]]
_TEXT_TESTS: dict[str, Callable[[str, Sequence[str]], bool]] = {
    "EQUAL": lambda text, values: text == values[0],
    "NOT_EQUAL": lambda text, values: text != values[0],
    "CONTAIN": lambda text, values: values[0].lower() in text.lower(),
    "NOT_CONTAIN": lambda text, values: values[0].lower() not in text.lower(),
    "STARTS_WITH": lambda text, values: text.lower().startswith(values[0].lower()),
    "IN": lambda text, values: text in values,
    "ANY": lambda text, values: text in values,
    "NOT_IN": lambda text, values: text not in values,
    "NONE": lambda text, values: text not in values,
    "ALL": lambda text, values: all(text == value for value in values),
}
_FIGURE_TESTS: dict[str, Callable[[Any, Sequence[float]], Any]] = {
    "EQUAL": lambda figures, values: figures == values[0],
    "NOT_EQUAL": lambda figures, values: figures != values[0],
    "GREATER_THAN": lambda figures, values: figures > values[0],
    "GREATER_THAN_OR_EQUAL": lambda figures, values: figures >= values[0],
    "LESS_THAN": lambda figures, values: figures < values[0],
    "LESS_THAN_OR_EQUAL": lambda figures, values: figures <= values[0],
    "IN_RANGE": lambda figures, values: (figures >= values[0]) & (figures <= values[1]),
    "NOT_IN_RANGE": lambda figures, values: (figures < values[0]) | (figures > values[1]),
}
_RANGES = frozenset({"IN_RANGE", "NOT_IN_RANGE"})


@dataclass
class Filters:
    """What `filtering` selects; its entries are combined with "and".

    Attributes:
        texts: what ids and names of an ad have to be.
        figures: what figures of a row have to be.
        statuses: allowed effective statuses of ads; all when None.
    """

    texts: list[tuple[str, TextTest]] = field(default_factory=list)
    figures: list[FigureTest] = field(default_factory=list)
    statuses: frozenset[str] | None = None

    def add(self, name: str, operator: str, value: Any) -> None:
        """Add one filter.

        Raises:
            GraphError: the field, the operator or the value is not supported.
        """
        values = tuple(str(item) for item in (value if isinstance(value, list) else [value]))
        if name in _STATUSES and operator == "IN":
            self._add_statuses(frozenset(values), of_ads=name.startswith("ad."))
        elif name in _TEXTS and operator in _TEXT_TESTS and values:
            self.texts.append((name.replace(".", "_"), text_test(operator, values)))
        else:
            self.figures.append(_figure_test(name, operator, values))

    def _add_statuses(self, values: frozenset[str], *, of_ads: bool) -> None:
        if of_ads:
            self.statuses = values if self.statuses is None else self.statuses & values
        elif ACTIVE not in values:
            # Campaigns and ad sets are always active here, so a filter without that status matches nothing.
            self.statuses = frozenset()


def text_test(operator: str, values: Sequence[str]) -> TextTest:
    """Return whether a text passes an operator of `_TEXT_TESTS`.

    Raises:
        GraphError: there is no such operator.
    """
    if operator not in _TEXT_TESTS:
        raise bad_parameter(f"filtering does not take {operator} of a text")
    compare = _TEXT_TESTS[operator]
    chosen: Any = frozenset(values) if operator in {"IN", "ANY", "NOT_IN", "NONE"} else values
    return lambda text: compare(text, chosen)


def _figure_test(name: str, operator: str, values: Sequence[str]) -> FigureTest:
    figure = name.rpartition(".")[2] if name.partition(".")[0] in LEVELS else name
    read = COUNTS.get(figure) or RATIOS.get(figure) or ((lambda f: f.spend) if figure == "spend" else None)
    if read is None or operator not in _FIGURE_TESTS:
        raise bad_parameter(f"filtering does not take {name} {operator}")
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        numbers = []
    count = 2 if operator in _RANGES else 1
    if len(numbers) != count:
        raise bad_parameter(f"filtering by {name} {operator} takes {count} numbers, not {len(numbers)}")
    compare = _FIGURE_TESTS[operator]

    def test(figures: Figures) -> npt.NDArray[np.bool_]:
        return np.asarray(compare(read(figures), numbers))

    return test


def read_filters(params: Mapping[str, str]) -> Filters:
    """Return what `filtering` selects. At ad level, any filter implies active ads unless it names their status.

    Raises:
        GraphError: an entry is not valid.
    """
    filters = Filters()
    entries = json_value("filtering", params.get("filtering", "[]"))
    for entry in entries if isinstance(entries, list) else [None]:
        filters.add(*filter_parts(entry))
    if entries and filters.statuses is None and params.get("level", "account") == "ad":
        filters.statuses = frozenset({ACTIVE})
    return filters


def filter_parts(entry: Any) -> tuple[str, str, Any]:
    """Return field, operator and value of one entry of `filtering`.

    Raises:
        GraphError: the entry does not have exactly these keys.
    """
    if not isinstance(entry, dict) or not set(entry) >= _KEYS:
        raise bad_parameter("filtering must be a list of objects with field, operator and value")
    extra = sorted(set(entry) - _KEYS)
    if extra:
        raise bad_parameter(f'Invalid keys "{", ".join(extra)}" were found in param "filtering[0]".')
    return str(entry["field"]), str(entry["operator"]), entry["value"]
