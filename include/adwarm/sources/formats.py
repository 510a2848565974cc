"""Converts values of any type to the platform's text form."""

import math
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from adwarm.foundation.errors import BadRequest, Corrupt
from adwarm.foundation.local_time import zone
from adwarm_client.derived_columns import FORMULAS
from adwarm_client.report_fields import AMOUNT_FIELDS, COUNT_FIELDS

ADDITIVE_FIELDS = ("impressions", "clicks", "inline_link_clicks", "spend")
_MAX_EXACT = 2**53
_DECIMAL_ID = re.compile(r"(\d+)\.0+", re.ASCII)
_ROUNDED_ID = re.compile(r"\d(?:\.\d+)?[eE]\+\d{1,3}|\d\.\d+[eE]\d{1,3}", re.ASCII)


def is_absent(value: Any) -> bool:
    """Whether a value means null: None, an empty text, or NaN, which stands for null in a column of floats."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def parse_decimal(name: str, value: Any) -> Decimal:
    """Return a figure with every digit that the table holds.

    Raises:
        BadRequest: it is not a number.
        Corrupt: it is NaN or infinite.
    """
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise BadRequest(f"column {name} holds {str(value)[:40]!r}, which is not a number") from None
    if not number.is_finite():
        raise Corrupt(f"column {name} holds {str(value)[:40]!r}, which is not a finite number")
    return number


def format_field(name: str, value: Any) -> Any:
    """Return a field's value as the platform prints it: text, or a list of actions; None for an absent one.

    Raises:
        BadRequest: a metric is not a number.
        Corrupt: a metric is NaN or infinite.
    """
    if is_absent(value):
        return None
    if name not in COUNT_FIELDS | AMOUNT_FIELDS:
        return _format_list(value)
    number = parse_decimal(name, value)
    if name in COUNT_FIELDS:
        return str(round(number))
    return f"{number:.2f}" if name == "spend" else _write_ratio(number)


def format_id(value: Any) -> str:
    """Return an id as text; a whole number read as a float or decimal, or the text of one, loses its fraction.

    Raises:
        BadRequest: a float is too large to hold every digit of an id, or the text of a float has lost some.
    """
    if isinstance(value, float) and abs(value) >= _MAX_EXACT:
        raise BadRequest(f"a column of ids holds the float {value:.17g}, which has lost digits; keep ids as text")
    if isinstance(value, float | Decimal) and value == int(value):
        return str(int(value))
    text = str(value).strip()
    if _ROUNDED_ID.fullmatch(text):
        raise BadRequest(f"a column of ids holds {text[:40]!r}, which has lost digits; keep ids as text")
    match = _DECIMAL_ID.fullmatch(text)
    return match[1] if match else text


def format_day(value: Any, day_zone: str = "UTC") -> str:
    """Return a day as YYYY-MM-DD: as stored, or for a time with a zone the day it falls on in `day_zone`.

    Raises:
        BadRequest: it is not a day.
    """
    if isinstance(value, datetime):
        moment = value if value.tzinfo is None else value.astimezone(zone(day_zone))
        return moment.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    try:
        return date.fromisoformat(str(value)[:10]).isoformat()
    except ValueError:
        raise BadRequest(f"the day column holds {str(value)[:40]!r}; write days as YYYY-MM-DD") from None


def compute_ratios(sums: Mapping[str, Decimal]) -> dict[str, str]:
    """Return the ratios that follow from sums, as the platform prints them."""
    ratios = {}
    for name, (above, below, times) in FORMULAS.items():
        if sums.get(below, 0) > 0 and sums.get(above, 0) > 0:
            ratios[name] = _write_ratio(times * sums[above] / sums[below])
    return ratios


def _write_ratio(number: Decimal) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _format_list(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("["):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return [_format_action(item) for item in value] if isinstance(value, list) else format_plain(value)


def _format_action(item: Any) -> Any:
    """Return an action with its figures as text and without nulls, whatever types a loader used."""
    if not isinstance(item, dict):
        return item
    return {name: format_plain(value) for name, value in item.items() if value is not None}


def format_plain(value: Any) -> Any:
    """Return a number as text without an empty fraction, lists and dicts unchanged, and anything else as text."""
    if isinstance(value, list | dict | str):
        return value.strip() if isinstance(value, str) else value
    if isinstance(value, float | Decimal) and math.isfinite(value):
        return str(int(value)) if value == int(value) else str(value)
    return str(value)
