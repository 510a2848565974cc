"""Which column of a file gives which field of an event: by the settings, or by the same name."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from adwarm.access_log.json_documents import LIST
from adwarm.access_log.nested_values import find_source
from adwarm.foundation.errors import BadRequest
from adwarm.settings import AccessLogSettings

REQUIRED_FIELDS = ("ts", "account_id", "date_range")
TEXT_FIELDS = ("account_id", "date_range", "report", "time_zone", "actor")
EVENT_FIELDS = ("ts", *TEXT_FIELDS, "user_agent")
"""Fields that a log may have, most of them optional; `user_agent` gives the actor of rows that name none."""
REQUEST_ID = "request_id"
"""The request's own id, which is read only to recognize opens that the open log holds too."""
REQUEST_FIELDS = ("path", "method", "status")
"""Fields of a web server's request. They are read when the settings map `path`, which then gives account and range."""

WHERE = "where "
"""Begins the names of the columns that decide whether a row is an open, beside those of the fields."""
KEY_FIELDS = ("account_id", "date_range")

_COLUMNS, _CONSTANTS = "ADWARM_ACCESS_LOG__COLUMNS", "ADWARM_ACCESS_LOG__CONSTANTS"
_WHERE = "ADWARM_ACCESS_LOG__WHERE"
_NAMES_SHOWN, _LENGTH_SHOWN = 30, 400


@dataclass(frozen=True)
class ColumnMapping:
    """The mapping of one log.

    Attributes:
        columns: by field, the name of the column or the path of a nested value, as the settings say; see
            `nested_values`.
        constants: by field, the value of rows that have none.
        has_request_ids: whether the ids of requests are read.
        from_path: fields that the path pattern reads.
        given: fields that something else gives where no column does.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    has_request_ids: bool = False
    from_path: Collection[str] = KEY_FIELDS
    given: Collection[str] = ()

    @classmethod
    def from_settings(cls, settings: AccessLogSettings, *, with_request_ids: bool = False) -> "ColumnMapping":
        """Return the mapping that the settings describe.

        Raises:
            BadRequest: they name a field that a log does not have.
        """
        _require_fields(_COLUMNS, settings.columns, (*EVENT_FIELDS, REQUEST_ID, *REQUEST_FIELDS))
        _require_fields(_CONSTANTS, settings.constants, TEXT_FIELDS)
        columns = {name: column for name, column in settings.columns.items() if with_request_ids or name != REQUEST_ID}
        columns |= {WHERE + column: column for column in settings.where}
        from_path = [name for name in KEY_FIELDS if f"(?P<{name}>" in settings.pattern]
        given = ("date_range",) if settings.accounts else ()
        mapping = cls(columns, settings.constants, with_request_ids, from_path, given)
        if not mapping.reads_paths and (extra := set(settings.columns) & set(REQUEST_FIELDS)):
            raise BadRequest(f"{_COLUMNS} maps {', '.join(sorted(extra))} but not path; map path too")
        return mapping

    @property
    def is_identity(self) -> bool:
        """Whether every field has the column of its name."""
        return not self.columns and not self.constants

    @property
    def reads_paths(self) -> bool:
        """Whether account and range are read from the path of a request."""
        return "path" in self.columns

    @property
    def opened_list(self) -> str | None:
        """The path of the list of which each object is a row; None where each line is one."""
        return next((column.partition(LIST)[0] for column in self.columns.values() if LIST in column), None)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that are read."""
        fields = (*EVENT_FIELDS, REQUEST_ID) if self.has_request_ids else EVENT_FIELDS
        fields = (*fields, *(name for name in self.columns if name.startswith(WHERE)))
        if not self.reads_paths:
            return fields
        return tuple(name for name in (*fields, *REQUEST_FIELDS) if name not in self.from_path)

    @property
    def required(self) -> tuple[str, ...]:
        """The fields for which a file must have a column."""
        names: tuple[str, ...] = REQUIRED_FIELDS
        if self.reads_paths:
            names = (*(name for name in names if name not in self.from_path), "path")
        return tuple(name for name in names if name not in self.constants and name not in self.given)

    def find_columns(self, available: Collection[str]) -> dict[str, str]:
        """Return the column of each field for which a file has one: the one in the settings, else that of its name."""
        columns = {}
        for name in self.fields:
            column = self.columns.get(name, name)
            if column in available or (name in self.columns and find_source(column, available)):
                columns[name] = column
            elif name in available:
                columns[name] = name
        return columns

    def resolve(self, available: Sequence[str]) -> dict[str, str]:
        """Return `find_columns` of a file with these columns.

        Raises:
            BadRequest: a required field has no column, or the settings name a column that the file does not have.
        """
        columns = self.find_columns(available)
        optional = {REQUEST_ID, *self.constants}
        mapped = [name for name in self.columns if name not in columns and name not in optional]
        fields = [f"{self.columns[name]!r} for {name}" for name in mapped if not name.startswith(WHERE)]
        conditions = [repr(self.columns[name]) for name in mapped if name.startswith(WHERE)]
        for setting, names in ((_COLUMNS, fields), (_WHERE, conditions)):
            if names:
                raise BadRequest(f"{setting} names {', '.join(names)}, but its columns are {list_names(available)}")
        if missing := [name for name in self.required if name not in columns]:
            fixed = [name for name in missing if name in TEXT_FIELDS]
            advice = f"name them in {_COLUMNS}" + (f", or fix {' or '.join(fixed)} in {_CONSTANTS}" if fixed else "")
            raise BadRequest(
                f"it lacks the columns {', '.join(missing)}; {advice}; its columns are {list_names(available)}"
            )
        return columns


def list_names(names: Iterable[str]) -> str:
    """Return names as text, a bounded number of them."""
    texts = [name[:60] for name in names if name]
    shown, length = 0, 0
    while shown < min(len(texts), _NAMES_SHOWN) and length + len(texts[shown]) <= _LENGTH_SHOWN:
        length += len(texts[shown]) + 2
        shown += 1
    rest = len(texts) - shown
    return (", ".join(texts[:shown]) + (f" and {rest} more" if rest else "")) or "none"


def _require_fields(setting: str, given: Iterable[str], fields: Sequence[str]) -> None:
    if unknown := [name for name in given if name not in fields]:
        field_names = ", ".join(fields)
        raise BadRequest(f"{setting} has {list_names(unknown)}, which is not a field; the fields are {field_names}")
