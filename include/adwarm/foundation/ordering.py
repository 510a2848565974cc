"""Orders rows by columns of numbers."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Codes, Ints

_DIGIT_BITS = 16
_KEY_BITS = 63


def order_by(columns: Sequence[Ints | Codes], kind: Literal["quicksort", "stable"] = "quicksort") -> Ints:
    """Return the order by the first column, then the next; values are not negative."""
    widths = [int(column.max(initial=0)).bit_length() for column in columns]
    if sum(widths) > _KEY_BITS:
        return np.lexsort(columns[::-1])
    is_short = kind == "stable" and sum(widths) <= 2 * _DIGIT_BITS
    key: npt.NDArray[Any] = columns[0].astype(np.uint32 if is_short else np.int64)
    for column, width in zip(columns[1:], widths[1:], strict=True):
        key <<= width
        key |= column.astype(key.dtype, copy=False)
    return _order_by_digits(key) if is_short else np.argsort(key, kind=kind)


def _order_by_digits(key: npt.NDArray[np.uint32]) -> Ints:
    """Return the stable order of numbers; it counts digits of 16 bits, in a quarter of the time of comparing."""
    order = np.argsort(key.astype(np.uint16), kind="stable")
    high = (key >> _DIGIT_BITS).astype(np.uint16)
    return order[np.argsort(high[order], kind="stable")] if high.any() else order
