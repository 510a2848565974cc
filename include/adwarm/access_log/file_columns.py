"""Lists the columns of a log file, and which of them gives each field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adwarm.access_log import parquet_log
from adwarm.access_log.column_mapping import ColumnMapping
from adwarm.access_log.log_files import FILE_ERRORS, LogFile, is_file_error
from adwarm.access_log.log_reader import read_header
from adwarm.access_log.named_groups import GroupPattern
from adwarm.access_log.parsers import CsvHead
from adwarm.access_log.sample_rows import read_sample
from adwarm.settings import AccessLogSettings

_OBJECTS, _MAX_NAMES = 200, 300


@dataclass(frozen=True, slots=True)
class FileColumns:
    """The columns of one file.

    Attributes:
        names: columns, and the dotted paths of nested values.
        by_field: by field, the column that gives it.
        how: by field, `setting`, `same name`, `constant`, `path pattern`, `user agent`, `format` or `not found`.
    """

    names: list[str] = field(default_factory=list)
    delimiter: str = ""
    by_field: Mapping[str, str] = field(default_factory=dict)
    how: Mapping[str, str] = field(default_factory=dict)


def describe_columns(file: LogFile, settings: AccessLogSettings) -> FileColumns:
    """Return the columns of a file and how they are used; none when it cannot be read."""
    mapping = ColumnMapping.from_settings(settings, with_request_ids=True)
    if file.problem or not file.size:
        return FileColumns()
    pattern = GroupPattern(settings.pattern)
    if pattern.reads_lines and file.format != "parquet":
        return FileColumns(how=dict.fromkeys(mapping.constants, "constant") | dict.fromkeys(pattern.names, "pattern"))
    if file.format == "combined":
        return _describe_combined(mapping)
    names: list[str] = []
    delimiter = ""
    try:
        if file.format == "parquet":
            names = parquet_log.read_columns(file)
        elif file.format == "csv":
            head = CsvHead.read(read_header(file)[0])
            names, delimiter = head.columns, head.delimiter
        else:
            names = list(dict.fromkeys(name for row in read_sample(file, _OBJECTS) for name in row))[:_MAX_NAMES]
    except FILE_ERRORS as error:
        if not is_file_error(error):
            raise
        return FileColumns()  # reading it reports the damage
    columns = mapping.find_columns(names)
    how = {name: _how(name, columns, mapping) for name in mapping.fields}
    if mapping.reads_paths:
        how |= dict.fromkeys(mapping.from_path, "path pattern")
    if "user_agent" in columns and "actor" not in columns:
        how["actor"] = "user agent"
    return FileColumns(names, delimiter, columns, how)


def plain_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that hold values: those of objects are listed by the names of their values."""
    parents = {name.rpartition(".")[0] for name in names}
    return [name for name in names if name and name not in parents]


def _describe_combined(mapping: ColumnMapping) -> FileColumns:
    how = {"ts": "format", "account_id": "path pattern", "date_range": "path pattern", "actor": "format"}
    how |= dict.fromkeys(mapping.constants, "constant")
    return FileColumns(by_field={"ts": "[time]", "actor": "user agent"}, how=how)


def _how(name: str, columns: Mapping[str, str], mapping: ColumnMapping) -> str:
    if name in columns:
        return "setting" if mapping.columns.get(name) == columns[name] else "same name"
    return "constant" if name in mapping.constants else "not found"
