"""Parses a request for a report: path, query and the headers that matter."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from adwarm.compression.document import MEDIA_TYPES, Shape, TableName, parse_shape, parse_table
from adwarm.foundation.errors import BadRequest
from adwarm.model import Priority, ReportKey
from adwarm.serving.api.guard import check_path_bytes, check_query
from adwarm_client.api_headers import ALLOW_PARTIAL

PREFIX: Final = "/v1/insights/"
PARAMETERS: Final = ("report", "shape", "table")
"""Of the query; `Accept` may name the shape too, and everything else is in headers."""
_ONE_TABLE: Final = (Shape.NDJSON, Shape.CSV, Shape.ARROW)
"""The shapes that hold one of a document's two tables."""
_SHAPES_BY_TYPE: Final = {MEDIA_TYPES[shape].partition(";")[0]: shape for shape in _ONE_TABLE} | {
    "application/ndjson": Shape.NDJSON
}
_BARE_ACCOUNT = re.compile(rf"{PREFIX}([0-9]{{1,20}})/")
_WAIT = re.compile(r'(?:^|,)\s*wait\s*=\s*"?(\d{1,6})"?\s*(?=$|[,;])', re.IGNORECASE)
_ALLOW_PARTIAL = re.compile(rf"(?:^|,)\s*{ALLOW_PARTIAL}\s*(?=$|[,;])", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")


@dataclass(frozen=True, slots=True)
class InsightsQuery:
    """What path and query of a request name.

    Attributes:
        shape: the shape; None when the query names none, so that `Accept` decides.
        table: `summary` or `daily`; None for the shape's own.
    """

    key: ReportKey
    shape: Shape | None
    table: TableName | None


def is_insights_path(path: str) -> bool:
    """Whether a path is `/v1/insights/{account}/{range}`."""
    return path.startswith(PREFIX) and path.count("/", len(PREFIX)) == 1


def find_bare_account(path: str) -> str:
    """Return the account of a path when it is bare digits, which leave open whose it is; else an empty text."""
    match = _BARE_ACCOUNT.match(path)
    return match[1] if match else ""


def parse_query(path: str, query_string: bytes) -> InsightsQuery:
    """Return what a request names.

    Args:
        path: its decoded path, for which `is_insights_path` holds.

    Raises:
        BadRequest: a part is not valid; the message says which one and what to write.
        Problem: 414, path and query are too long.
    """
    check_path_bytes(len(path) + len(query_string))
    account, _, date_range = path[len(PREFIX) :].partition("/")
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    check_query([name for name, _ in pairs], PARAMETERS)
    fields = dict(pairs)
    shape, table = fields.get("shape"), fields.get("table")
    return InsightsQuery(
        ReportKey.parse(account, date_range, fields.get("report", "default")),
        None if shape is None else parse_shape(shape),
        None if table is None else parse_table(table),
    )


def parse_priority(text: str) -> Priority:
    """Return a priority class by its name.

    Raises:
        BadRequest: there is no such class.
    """
    try:
        return Priority.parse(text[:40])
    except ValueError as error:
        raise BadRequest(str(error)) from None


def choose_shape(accept: str, query: InsightsQuery) -> str:
    """Return the shape of an answer, with its table where the client names one.

    The query wins over `Accept`. A client that accepts no type of this API gets the columnar document, as RFC 9110
    (12.5.1) allows.
    """
    shape = query.shape or _shape_by_type(accept)
    return f"{shape}.{query.table}" if query.table and shape in _ONE_TABLE else str(shape)


def parse_wait(prefer: str) -> int:
    """Return the seconds that `Prefer: wait=N` (RFC 7240) allows for an answer; 0 when it names none."""
    match = _WAIT.search(prefer)
    return int(match[1]) if match else 0


def allows_partial(prefer: str) -> bool:
    """Whether `Prefer: allow-partial` is among the preferences: an answer of other days is welcome."""
    return _ALLOW_PARTIAL.search(prefer) is not None


def find_request_id(headers: dict[bytes, bytes]) -> str | None:
    """Return the id of the queued request that a client comes back for, else the request's own; None without one."""
    raw = headers.get(b"adwarm-request") or headers.get(b"x-request-id")
    if raw is None:
        return None
    text = raw.decode("latin-1").strip()
    return text if _REQUEST_ID.fullmatch(text) else None


def _shape_by_type(accept: str) -> Shape:
    """Return the shape of the acceptable type with the highest weight; JSON and wildcards stand for the document."""
    best, weight = Shape.COLUMNAR, 0.0
    for member in accept.lower().split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        quality = next((_parse_quality(item) for item in parameters if item.startswith("q=")), 1.0)
        is_json = name in {"application/json", "*/*", "application/*"} or name.endswith("+json")
        shape = Shape.COLUMNAR if is_json else _SHAPES_BY_TYPE.get(name)
        if shape is not None and quality > weight:
            best, weight = shape, quality
    return best


def _parse_quality(parameter: str) -> float:
    try:
        return min(1.0, max(0.0, float(parameter[2:])))
    except ValueError:
        return 0.0
