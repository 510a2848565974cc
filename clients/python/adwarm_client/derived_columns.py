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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, pairwise, repeat
from operator import itemgetter, sub
from typing import Any, Final, NamedTuple

import orjson

BY: Final = "action_type"
MAX_DIGITS: Final = 15
"""Digits that a number may have; so many are exact in JavaScript as well."""
_LIMIT = 10**MAX_DIGITS
_NUMBER = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?", re.ASCII)
_DIGITS = frozenset("0123456789")
_DECIMALS = 6
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
        ratio: the formula.
        types: the types of the items in each list, in their order; None: all of them, as they are.
        read: the numbers of these columns that were read for other formulas; those of this one are added.
    """
    read = {} if read is None else read
    if ratio.dividend not in read:
        read[ratio.dividend] = read_numbers(columns[ratio.dividend])
    divisors = columns[ratio.divisor]
    if list in {*map(type, divisors)}:
        return _divide_lists(read[ratio.dividend], divisors, ratio.times, types)
    if ratio.divisor not in read:
        read[ratio.divisor] = read_numbers(divisors)
    return divide_numbers(read[ratio.dividend], read[ratio.divisor], ratio.times)


def divide(dividends: Sequence[Any], divisors: Sequence[Any], times: int = 1) -> list[str | None]:
    """Return the quotients of two columns of text, times a factor; None where there is none."""
    return divide_numbers(read_numbers(dividends), read_numbers(divisors), times)


def read_numbers(cells: Sequence[Any]) -> Numbers:
    """Return the numbers of a column; None where a cell has none, or one of too many digits."""
    with suppress(TypeError, ValueError):  # not all of them are text, or some are empty
        text = "".join([cell for cell in cells if cell is not None])
        if text.isascii() and text.isdigit() and max(map(len, filter(None, cells))) <= MAX_DIGITS:
            return [None if cell is None else int(cell) for cell in cells], 0
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
    factor = 2 * times * 10 ** (_DECIMALS + other_decimals - own_decimals)
    quotients = [
        (number * factor // divisor + 1) >> 1 if divisor and number is not None else None
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


def _divide_lists(
    dividends: Numbers, cells: Sequence[Any], times: int, types: Sequence[str] | None
) -> list[list[Any] | None]:
    """Return each list with a quotient in place of each figure; None where one of them has none."""
    lists = [cell if isinstance(cell, list) else [] for cell in cells]
    if types is None:
        return _divide_any(dividends, lists, times)
    results: list[list[Any] | None] = [None] * len(cells)
    for kinds, rows in group_by_types(lists).items():
        places = {kind: place for place, kind in enumerate(kinds) if isinstance(kind, str)}
        chosen = [kind for kind in types if kind in places]
        if chosen and len(places) == len(kinds):  # no type repeats
            own = [dividends[0][row] for row in rows], dividends[1]
            columns = [[lists[row][places[kind]] for row in rows] for kind in chosen]
            divided = _divide_values(own, columns, times)
            if divided is None:
                quotients = _divide_any(own, list(map(list, zip(*columns, strict=True))), times)
            else:
                quotients = [
                    None
                    if None in texts
                    else [{BY: kind, "value": text} for kind, text in zip(chosen, texts, strict=True)]
                    for texts in zip(*divided, strict=True)
                ]
            for row, items in zip(rows, quotients, strict=True):
                results[row] = items
    return results


def group_by_types(lists: Sequence[list[Any]]) -> dict[tuple[Any, ...], list[int]]:
    """Return the numbers of lists by the types of their items; lists with other items are left out."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row, items in enumerate(lists):
        try:
            rows = groups.setdefault(tuple([item[BY] for item in items]), [])
        except (TypeError, KeyError):  # an item is no object, or has no type, or one that is no text
            rows = []
        rows.append(row)
    return groups


def _divide_values(dividends: Numbers, columns: Sequence[list[Any]], times: int) -> list[list[str | None]] | None:
    """Return the quotients of the values of items by column; None: some items have other fields, most have none."""
    done: list[tuple[list[str], list[str | None]]] = []
    divided = []
    for items in columns:
        if list(map(len, items)).count(2) != len(items):
            return None
        try:
            values = list(map(itemgetter("value"), items))
        except KeyError:
            return None
        quotients = next((texts for other, texts in done if other == values), None)  # one action under several types
        if quotients is None:
            if {*map(type, values)} != {str}:
                return None
            quotients = divide_numbers(dividends, read_numbers(values), times)
            done.append((values, quotients))
        divided.append(quotients)
    return divided


def _divide_any(dividends: Numbers, lists: list[list[Any]], times: int) -> list[list[Any] | None]:
    """Return each list with a quotient in place of each figure, whatever else its items hold."""
    values: list[str] = []
    ends = [0]
    chosen = []
    for items in lists:
        if _collect_values(items, values):
            chosen.append(items)
        else:
            chosen.append([])
            del values[ends[-1] :]
        ends.append(len(values))
    above = [*chain.from_iterable(map(repeat, dividends[0], map(sub, ends[1:], ends)))]
    quotients = divide_numbers((above, dividends[1]), read_numbers(values), times)
    results: list[list[Any] | None] = []
    for items, (start, end) in zip(chosen, pairwise(ends), strict=True):
        own = quotients[start:end]
        results.append(_replace_values(items, iter(own)) if items and None not in own else None)
    return results


def is_figure(name: str) -> bool:
    """Whether a field of an item is a figure: its `value`, or that of an attribution window, such as `7d_click`."""
    return name == "value" or name[:1] in _DIGITS


def _collect_values(items: list[Any], values: list[str]) -> bool:
    """Add the figures of items, in their order; False: an item has other values than texts and lists of items."""
    for item in items:
        if not isinstance(item, dict):
            if not isinstance(item, str):
                return False
            continue
        for name, value in item.items():
            if isinstance(value, list):
                if not _collect_values(value, values):
                    return False
            elif not isinstance(value, str):
                return False
            elif is_figure(name):
                values.append(value)
    return True


def _replace_values(items: list[Any], figures: Iterator[Any]) -> list[Any]:
    """Return items with other figures, which `_collect_values` would give in the same order."""
    replaced: list[Any] = []
    for item in items:
        if isinstance(item, dict):
            own = {**item}
            for name, value in item.items():
                if isinstance(value, list):
                    own[name] = _replace_values(value, figures) if dict in {*map(type, value)} else value
                elif is_figure(name):
                    own[name] = next(figures)
            replaced.append(own)
        else:
            replaced.append(item)
    return replaced
