"""Finds the opens of reports among a web server's requests, in text logs and in logs with a column for the path."""

import re
from collections import Counter
from collections.abc import Callable, Container, Sequence
from typing import Any
from urllib.parse import unquote

from adwarm.access_log.column_mapping import KEY_FIELDS
from adwarm.access_log.named_groups import SETTING, GroupPattern
from adwarm.access_log.user_agents import classify_actor
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.redaction import redact

Columns = dict[str, list[Any]]
IgnorePath = Callable[[str | None], None]
"""Called for each request that opens no report; with its path when only the pattern did not match."""
CLIENT_CLOSED_REQUEST = 499
"""nginx writes this status when the reader gave up waiting."""
_REQUEST_LINE = re.compile(r"([A-Z]{1,10}) (\S+)(?: HTTP/[0-9.]+)?")
_AGENTS_COUNTED = 5_000
_QUERY_VALUE = re.compile(r"=[^&#;]*")
_ASSET = re.compile(r"\.(?:js|mjs|css|map|png|jpe?g|gif|svg|webp|ico|woff2?|ttf|txt|xml)$", re.IGNORECASE)
_LONGEST_PATH = 160


class RequestFilter:
    """Decides which requests are opens, and of which account and date range.

    An open is a GET whose path matches the pattern and whose status is not 4xx or 5xx. A request that the client closed
    before the response (status 499) is an open.

    Attributes:
        pattern: reads the key, or whole lines.
        machine_agents: counts the user agents of programs; None: they are not counted.

    Args:
        pattern: with the groups `account_id` and `date_range`, see `GroupPattern`.
        ignore: is called for every other request.
        constants: fields that something else gives, which the pattern need not have.

    Raises:
        BadRequest: the pattern is not valid.
    """

    def __init__(self, pattern: str, ignore: IgnorePath, constants: Container[str] = ()) -> None:
        self.pattern = GroupPattern(pattern)
        self._groups = [name for name in KEY_FIELDS if name in self.pattern.names]
        if any(name not in self._groups and name not in constants for name in KEY_FIELDS):
            raise BadRequest(f"{SETTING} must name the groups account_id and date_range")
        self._ignore = ignore
        self.machine_agents: Counter[str] | None = None

    def find_keys(
        self, methods: Sequence[str], paths: Sequence[str], statuses: Sequence[int]
    ) -> tuple[list[int], Columns]:
        """Return the indexes of the requests that are opens, and of those the fields that the pattern reads."""
        answered = [*map(is_answered, methods, statuses)]
        rows, columns = self.pattern.read([path if ok else None for path, ok in zip(paths, answered, strict=True)])
        is_open = set(rows)
        for row, path in enumerate(paths) if len(rows) < len(paths) else ():
            if row not in is_open:
                self._ignore(path if answered[row] else None)
        return rows, {name: [*map(unquote_field, columns[name])] for name in self._groups}

    def classify(self, agent: str | None) -> str:
        """Return the actor class of a user agent, and count a program's."""
        actor, counts = classify_actor(agent), self.machine_agents
        if counts is not None and agent and not actor.is_human and (agent in counts or len(counts) < _AGENTS_COUNTED):
            counts[agent] += 1
        return actor.value

    def select_opens(self, columns: dict[str, list[Any]], rows: Sequence[int]) -> tuple[list[int], Columns]:
        """Return the rows that are opens, and their columns with the key in place of the request.

        Args:
            columns: with `path`, and `method`, `status` and `user_agent` where the log has them.
        """
        count = len(rows)
        methods, statuses = columns.get("method") or ["GET"] * count, columns.get("status") or [200] * count
        requests = list(map(_split_request, columns["path"], methods))
        verbs, targets = [verb for verb, _ in requests], [target for _, target in requests]
        opens, keys = self.find_keys(verbs, targets, [*map(to_status, statuses)])
        selected = {name: [values[row] for row in opens] for name, values in columns.items()} | keys
        return [rows[row] for row in opens], self.add_actors(selected)

    def add_actors(self, columns: Columns) -> Columns:
        """Return the columns with the actor of each row that names none but has a user agent."""
        agents = columns.get("user_agent")
        if agents is None:
            return columns
        actors = columns.get("actor") or [None] * len(agents)
        classified = [
            actor if actor or not isinstance(agent, str) or not agent else self.classify(agent)
            for actor, agent in zip(actors, agents, strict=True)
        ]
        return columns | {"actor": classified}


def redact_path(path: str) -> str:
    """Return a path that may be shown: query values are hidden, the names of the parameters stay."""
    head, mark, query = path.partition("?")
    return redact(head + mark + _QUERY_VALUE.sub("=...", query))[:_LONGEST_PATH]


def is_page_path(path: str) -> bool:
    """Whether a path may be that of a report: scripts, styles and images are not."""
    return not _ASSET.search(path.partition("?")[0])


def _split_request(path: Any, method: Any) -> tuple[str, str]:
    """Return method and path; `GET /path HTTP/1.1` names both."""
    text = path if isinstance(path, str) else ""
    if match := _REQUEST_LINE.fullmatch(text):
        return match[1], match[2]
    return (method.upper() if isinstance(method, str) and method else "GET"), text


def is_answered(method: str, status: int) -> bool:
    """Whether a request may be an open: a GET that was answered, or for whose answer the client did not wait."""
    return method == "GET" and (status < 400 or status == CLIENT_CLOSED_REQUEST)


def unquote_field(text: str | None) -> str | None:
    """Return an account or a date range as the page wrote it into its path."""
    return unquote(unquote(text)) if text and "%" in text else text


def to_status(value: Any) -> int:
    """Return the status of an answer; 200 where the log has none, 0 where it is no number."""
    try:
        return 200 if value is None or value == "" else int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
