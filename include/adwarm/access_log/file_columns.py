"""Lists the columns of a log file, so that those of fields it lacks can be suggested."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from adwarm.access_log import parquet_log
from adwarm.access_log.column_mapping import REQUEST_FIELDS, ColumnMapping
from adwarm.access_log.lines import line_blocks
from adwarm.access_log.log_files import FILE_ERRORS, LogFile, is_file_error
from adwarm.access_log.log_reader import read_header
from adwarm.access_log.parsers import read_csv_header
from adwarm.settings import AccessLogSettings

_OBJECTS, _DEPTH, _MAX_NAMES = 200, 3, 300
_MARKS = re.compile(r"[^a-z0-9]")
_CANDIDATES = {
    "ts": (
        "timestamp,time,datetime,date,eventtime,eventtimestamp,eventdatetime,createdat,openedat,occurredat,viewedat,"
        "loggedat,when,at,timeiso8601,timelocal,starttime,startutc,timestampstart,requesttimestamp,msec,unixtime"
    ),
    "account_id": "account,accountid,adaccount,adaccountid,actid,customerid,advertiserid,clientid",
    "date_range": "daterange,range,preset,datepreset,period,timerange,timeframe,dateinterval,interval",
    "report": "report,reportname,reporttype,view,dashboard",
    "time_zone": "timezone,tz,usertz,usertimezone,zone,readertz,readertimezone,timezonename",
    "actor": "actor,actorclass,actortype",
    "hit": "cachehit,cached,iscached,cachestatus",
    "latency_ms": "latencyms,durationms,responsetimems,elapsedms,timetaken,tookms",
    "latency_seconds": "requesttime,durationseconds,duration,elapsedseconds",
    "path": "path,uri,requesturi,url,requestpath,requesturl,request,originalurl",
    "method": "method,requestmethod,httpmethod,verb",
    "status": "status,statuscode,responsestatus,httpstatus,downstreamstatus,responsecode",
    "user_agent": "useragent,httpuseragent,agent,requestuseragent,browser",
}
_FIELD_BY_NAME = {name: field for field, names in reversed(_CANDIDATES.items()) for name in names.split(",")}


@dataclass(frozen=True, slots=True)
class FileColumns:
    """The columns of one file.

    Attributes:
        names: columns, and the dotted paths of nested values.
        delimiter: of a CSV file.
        by_field: by field, the column that gives it.
        how: by field, `setting`, `same name`, `constant`, `path pattern`, `user agent`, `format` or `not found`.
        suggested: by field that has no column, a column that may be meant.
    """

    names: list[str] = field(default_factory=list)
    delimiter: str = ""
    by_field: Mapping[str, str] = field(default_factory=dict)
    how: Mapping[str, str] = field(default_factory=dict)
    suggested: Mapping[str, str] = field(default_factory=dict)


def describe_columns(file: LogFile, settings: AccessLogSettings) -> FileColumns:
    """Return the columns of a file and how they are used; none when it cannot be read."""
    mapping = ColumnMapping.from_settings(settings, with_request_ids=True)
    if file.problem or not file.size:
        return FileColumns()
    if file.format == "combined":
        return _describe_combined(mapping)
    names: list[str] = []
    delimiter = ""
    try:
        if file.format == "parquet":
            names = parquet_log.read_columns(file)
        elif file.format == "csv":
            names, delimiter = read_csv_header(read_header(file)[0])
        else:
            names = _list_json_columns(file)
    except FILE_ERRORS as error:
        if not is_file_error(error):
            raise
        return FileColumns()  # reading it reports the damage
    columns = mapping.find_columns(names)
    how = {name: _how(name, columns, mapping) for name in mapping.fields}
    if mapping.reads_paths:
        how |= dict.fromkeys(("account_id", "date_range"), "path pattern")
    if "user_agent" in columns and "actor" not in columns:
        how["actor"] = "user agent"
    suggested = suggest_columns(names, columns, mapping)
    how |= {name: "not found" for name in suggested if name not in how}
    return FileColumns(names, delimiter, columns, how, suggested)


def suggest_columns(names: list[str], columns: Mapping[str, str], mapping: ColumnMapping) -> dict[str, str]:
    """Return, by field without a column, an unused column whose name says that it may be meant."""
    suggested: dict[str, str] = {}
    unused = [name for name in plain_columns(names) if name not in columns.values()]
    for is_whole in (True, False):  # `user.time_zone` is suggested only where no column is called like the field
        for name in unused:
            text = name if is_whole else name.rpartition(".")[2]
            field_name = _FIELD_BY_NAME.get(_MARKS.sub("", text.casefold()))
            if field_name and field_name not in columns and name not in suggested.values():
                suggested.setdefault(field_name, name)
    needed = ("account_id", "date_range")
    has_key = all(name in columns or name in suggested or name in mapping.constants for name in needed)
    uses_path = mapping.reads_paths or ("path" in suggested and not has_key)
    dropped = needed if uses_path else REQUEST_FIELDS
    chosen = [name for name in _CANDIDATES if name in suggested and name not in dropped]
    return {name: suggested[name] for name in chosen if name == "path" or name != suggested[name]}


def plain_columns(names: Sequence[str]) -> list[str]:
    """Return the columns that hold values: those of objects are listed by the names of their values."""
    parents = {name.rpartition(".")[0] for name in names}
    return [name for name in names if name and name not in parents]


def _describe_combined(mapping: ColumnMapping) -> FileColumns:
    how = {"ts": "format", "account_id": "path pattern", "date_range": "path pattern", "actor": "format"}
    how |= {"hit": "format", "latency_ms": "format"}
    how |= dict.fromkeys(mapping.constants, "constant")
    columns = {"ts": "[time]", "actor": "user agent", "hit": "status 499", "latency_ms": "seconds after the user agent"}
    return FileColumns(by_field=columns, how=how)


def _how(name: str, columns: Mapping[str, str], mapping: ColumnMapping) -> str:
    if name in columns:
        return "setting" if mapping.columns.get(name) == columns[name] else "same name"
    return "constant" if name in mapping.constants else "not found"


def _list_json_columns(file: LogFile) -> list[str]:
    names: dict[str, None] = {}
    with file.open() as stream:
        block = next(line_blocks(stream, _skip_line), None)
    for line in (block.lines if block else [])[:_OBJECTS]:
        try:
            document = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError:
            document = None  # reading the file rejects the line
        if isinstance(document, dict):
            names |= dict.fromkeys(_paths(document, "", _DEPTH))
    return list(names)[:_MAX_NAMES]


def _skip_line(reason: str, offset: int, line: bytes) -> None:
    """Leave a line out; reading the file counts it."""
    del reason, offset, line


def _paths(item: Mapping[str, Any], prefix: str, depth: int) -> Iterator[str]:
    for name, value in item.items():
        yield prefix + name
        if isinstance(value, dict) and depth > 1:
            yield from _paths(value, f"{prefix}{name}.", depth - 1)
