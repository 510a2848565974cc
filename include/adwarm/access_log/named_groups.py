"""Reads the named groups of a pattern in the settings with RE2, whose time grows only with the length of the text.

No pattern can stall a reader; lookarounds and backreferences, which could, are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from adwarm.foundation.errors import BadRequest

SETTING = "ADWARM_ACCESS_LOG__PATTERN"
TIME_GROUP = "ts"
"""A pattern with this group reads whole lines; one without it, the path of a request."""


@dataclass(frozen=True, slots=True)
class GroupPattern:
    """A pattern with named groups. A name may stand in several alternatives; the first that matched counts.

    Raises:
        BadRequest: it is not valid.
    """

    text: str

    def __post_init__(self) -> None:
        self._extract([])

    @property
    def names(self) -> list[str]:
        """The distinct names of its groups."""
        return list(dict.fromkeys(field.name for field in self._extract([]).type))

    @property
    def reads_lines(self) -> bool:
        """Whether it reads whole lines rather than paths."""
        return TIME_GROUP in self.names

    def read(self, texts: Sequence[str | None]) -> tuple[list[int], dict[str, list[str | None]]]:
        """Return the indexes of the texts that it matches somewhere, and of those the value of each group."""
        matches = self._extract(texts)
        rows = pc.indices_nonzero(pc.is_valid(matches)).to_pylist()
        matches = matches.drop_null()
        columns: dict[str, list[str | None]] = {}
        for number, field in enumerate(matches.type):
            values = [text or None for text in matches.field(number).to_pylist()]
            own = columns.get(field.name)
            columns[field.name] = values if own is None else [a or b for a, b in zip(own, values, strict=True)]
        return rows, columns

    def _extract(self, texts: Sequence[str | None]) -> pa.StructArray:
        try:
            return pc.extract_regex(pa.array(texts, pa.string()), pattern=self.text)
        except pa.ArrowInvalid as error:
            raise BadRequest(f"{SETTING} is not a regular expression that RE2 reads: {error}") from None
