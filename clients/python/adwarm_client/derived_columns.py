"""Columns that follow from others: ratios, stored as their formula and the cells that differ from it.

A ratio is the quotient of a number and of another number of the row, times a factor, in exact decimal arithmetic:
rounded to six decimals, half up, without zeros at the end, as the platform writes it. Where the divisor is a list of
objects, such as `actions`, the ratio is that list with a quotient for each value: what one action costs.

In a document such a column is

    {"ratio": ["spend", "actions"], "times": 1, "types": ["link_click"], "exceptions": {"17": null}}

`times` is left out when it is 1. `types` names the actions that the lists have, in their order; without it a list has
all items of the other one, in their order. `exceptions` holds, by row number, the cells that are not what the formula
gives; it is left out when it is empty.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import NoneType
from typing import Any, Final, NamedTuple

import orjson

BY: Final = "action_type"
MAX_DIGITS: Final = 15
"""Digits that a number may have; so many are exact in JavaScript as well."""
_LIMIT = 10**MAX_DIGITS
_NUMBER = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?", re.ASCII)
_DIGITS = frozenset("0123456789")
_DECIMALS = 6
_MILLION = 10**_DECIMALS
_TOO_LONG = re.compile(r"\.[0-9]{7}")
_SMALLEST = 100
"""Millionths; a smaller number is written with an exponent in JSON."""

Numbers = tuple[list[int | None], int]
"""Numbers as integers, and how many decimals they have."""


class Ratio(NamedTuple):
    """A formula: the names of two columns, and the factor of their quotient."""

    dividend: str
    divisor: str
    times: int = 1


FORMULAS: Final[Mapping[str, Ratio]] = {
    "ctr": Ratio("clicks", "impressions", 100),
    "cpm": Ratio("spend", "impressions", 1000),
    "cpc": Ratio("spend", "clicks"),
    "cpp": Ratio("spend", "reach", 1000),
    "frequency": Ratio("impressions", "reach"),
    "inline_link_click_ctr": Ratio("inline_link_clicks", "impressions", 100),
    "cost_per_inline_link_click": Ratio("spend", "inline_link_clicks"),
    "cost_per_inline_post_engagement": Ratio("spend", "inline_post_engagement"),
    "unique_ctr": Ratio("unique_clicks", "reach", 100),
    "unique_inline_link_click_ctr": Ratio("unique_inline_link_clicks", "reach", 100),
    "cost_per_unique_click": Ratio("spend", "unique_clicks"),
    "cost_per_unique_inline_link_click": Ratio("spend", "unique_inline_link_clicks"),
    "cost_per_result": Ratio("spend", "results"),
    "cost_per_action_type": Ratio("spend", "actions"),
    "cost_per_unique_action_type": Ratio("spend", "unique_actions"),
    "cost_per_conversion": Ratio("spend", "conversions"),
    "cost_per_outbound_click": Ratio("spend", "outbound_clicks"),
    "cost_per_unique_outbound_click": Ratio("spend", "unique_outbound_clicks"),
    "cost_per_thruplay": Ratio("spend", "video_thruplay_watched_actions"),
}
"""The formula of each field that follows from others."""


def compute_column(
    columns: Mapping[str, Sequence[Any]],
    ratio: Ratio,
    types: Sequence[str] | None = None,
    read: dict[str, Numbers] | None = None,
) -> list[Any]:
    """Return the cells that a formula gives; None where the row has no such numbers, or the divisor is zero.

    Args:
        columns: the columns that the formula names.
        types: the types of the items in each list, in their order; None: all of them, as they are.
        read: the numbers of these columns that were read for other formulas; those of this one are added.
    """
    read = {} if read is None else read
    dividends, divisors = read_once(columns, ratio.dividend, read), columns[ratio.divisor]
    if list in {*map(type, divisors)}:
        return divide_lists(dividends, divisors, ratio.times, types)
    return divide_numbers(dividends, read_once(columns, ratio.divisor, read), ratio.times)


def read_once(columns: Mapping[str, Sequence[Any]], name: str, read: dict[str, Numbers]) -> Numbers:
    """Return the numbers of a column, and add them to those that were read."""
    if name not in read:
        read[name] = read_numbers(columns[name])
    return read[name]


def divide(dividends: Sequence[Any], divisors: Sequence[Any], times: int = 1) -> list[str | None]:
    """Return the quotients of two columns of text, times a factor; None where there is none."""
    return divide_numbers(read_numbers(dividends), read_numbers(divisors), times)


def read_numbers(cells: Sequence[Any]) -> Numbers:
    """Return the numbers of a column; None where a cell has none, or one of too many digits."""
    with suppress(TypeError, ValueError):  # not all of them are text, or not all are numbers of JSON
        text = ",".join(["null" if cell is None else cell for cell in cells])
        digits = text.replace("null", "").replace(",", "").replace(".", "")
        numbers = orjson.loads(f"[{text}]") if digits.isascii() and digits.isdigit() else []
        largest = max(filter(None, numbers), default=0)
        if len(numbers) == len(cells):
            if "." not in text and largest < _LIMIT:
                return numbers, 0
            if largest < _LIMIT / _MILLION and not _TOO_LONG.search(text):
                millionths = [None if number is None else int(number * _MILLION + 0.5) for number in numbers]
                return millionths, _DECIMALS
    matches = [_NUMBER.fullmatch(cell) if isinstance(cell, str) else None for cell in cells]
    parts = [(match[1], match[2] or "") if match else ("", "") for match in matches]
    decimals = max((len(fraction) for _, fraction in parts), default=0)
    return [
        int(whole + fraction.ljust(decimals, "0")) if 0 < len(whole) + len(fraction) <= MAX_DIGITS else None
        for whole, fraction in parts
    ], decimals


def divide_numbers(dividends: Numbers, divisors: Numbers, times: int) -> list[str | None]:
    """Return the quotients of two columns of numbers, times a factor; None where there is none."""
    (above, own_decimals), (below, other_decimals) = dividends, divisors
    factor = times * 10 ** (_DECIMALS + other_decimals - own_decimals)
    quotients = [
        (number * factor + (divisor >> 1)) // divisor if divisor and number is not None else None
        for number, divisor in zip(above, below, strict=True)
    ]
    return _write_millionths(quotients)


def _write_millionths(numbers: list[int | None]) -> list[str | None]:
    """Return decimal numbers as text, without zeros at the end; None for those of too many digits.

    JSON writes the shortest text that stands for a float, which for up to 15 digits is the number itself.
    """
    floats = [None if number is None or number >= _LIMIT else number / 1e6 for number in numbers]
    text = orjson.dumps(floats).decode()[1:-1].replace(".0,", ",")
    texts: list[str | None] = text.removesuffix(".0").split(",") if floats else []  # type: ignore[assignment]
    if None in floats:
        texts = [None if value == "null" else value for value in texts]
    if "e" in text:
        for row, number in enumerate(numbers):
            if number is not None and 0 < number < _SMALLEST:
                texts[row] = f"0.{number:06d}".rstrip("0")
    return texts


def divide_fields(
    dividends: Numbers, fields: Mapping[str, list[Any]], times: int
) -> tuple[dict[str, list[Any]], set[int]]:
    """Return the quotients of the figures of items by field, and the rows with a value that has none or is not text."""
    divided: dict[str, list[Any]] = {}
    odd: set[int] = set()
    for name, values in fields.items():
        own = divided[name] = divide_numbers(dividends, read_numbers(values), times) if is_figure(name) else values
        if own.count(None) != values.count(None) or (own is values and not {*map(type, values)} <= {str, NoneType}):
            odd.update(row for row, cell in enumerate(values) if cell is not None and not isinstance(own[row], str))
    return divided, odd


def divide_lists(
    dividends: Numbers, cells: Sequence[Any], times: int, types: Sequence[str] | None
) -> list[list[Any] | None]:
    """Return each list with a quotient in place of each figure; None where one of them has none."""
    values: list[str] = []
    places: list[tuple[dict[str, Any], str]] = []
    rows: list[int] = []
    results: list[list[Any] | None] = []
    for row, cell in enumerate(cells):
        items = cell if isinstance(cell, list) else []
        try:
            copied = _copy_items(items if types is None else _select_items(items, types), values, places)
        except TypeError:
            copied = []
            del values[len(rows) :], places[len(rows) :]
        rows += [row] * (len(values) - len(rows))
        results.append(copied or None)
    quotients = divide_numbers(([dividends[0][row] for row in rows], dividends[1]), read_numbers(values), times)
    for row, (item, name), quotient in zip(rows, places, quotients, strict=True):
        item[name] = quotient
        if quotient is None:
            results[row] = None
    return results


def _select_items(items: list[Any], types: Sequence[str]) -> list[Any]:
    """Return the items of some types, in their order; none where a type repeats or is not text."""
    try:
        by_type = {item[BY]: item for item in items}
    except (TypeError, KeyError):  # an item is not an object, or has no type
        return []
    is_usual = len(by_type) == len(items) and {*map(type, by_type)} == {str}
    return [by_type[kind] for kind in types if kind in by_type] if is_usual else []


def is_figure(name: str) -> bool:
    """Whether a field of an item is a figure: its `value`, or that of an attribution window, such as `7d_click`."""
    return name == "value" or name[:1] in _DIGITS


def _copy_items(items: list[Any], values: list[str], places: list[tuple[dict[str, Any], str]]) -> list[Any]:
    """Return a copy of items, and add their figures, and where these are.

    Raises:
        TypeError: one has other values than texts and lists of items.
    """
    copied = []
    for item in items:
        own = item
        if isinstance(item, dict):
            own = item.copy()
            for name, value in item.items():
                if isinstance(value, str):
                    if is_figure(name):
                        values.append(value)
                        places.append((own, name))
                elif not isinstance(value, list):
                    raise TypeError(name)
                elif {*map(type, value)} != {str}:
                    own[name] = _copy_items(value, values, places)
        elif not isinstance(item, str):
            raise TypeError(item)
        copied.append(own)
    return copied
