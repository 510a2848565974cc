"""Finds the opens of reports among a web server's requests, in text logs and in logs with a column for the path."""

import re
from collections import Counter
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from adwarm.access_log.user_agents import LONGEST_AGENT, classify_actor
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.redaction import redact

Columns = dict[str, list[Any]]
IgnorePath = Callable[[str | None], None]
"""Called for each request that opens no report; with its path when only the pattern did not match."""

_SETTING = "ADWARM_ACCESS_LOG__PATH_PATTERN"
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
    before the response (status 499) is an open and a miss.

    Attributes:
        machine_agents: counts the user agents of programs; None: they are not counted.

    Args:
        pattern: regular expression with the groups `account_id` and `date_range`.
        ignore: is called for every other request.
        constants: fields with a fixed value, which the pattern need not have.

    Raises:
        BadRequest: the pattern is not valid.
    """

    def __init__(self, pattern: str, ignore: IgnorePath, constants: Container[str] = ()) -> None:
        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise BadRequest(f"{_SETTING} is not a regular expression: {error}") from None
        groups = [name for name in ("account_id", "date_range") if name in self._pattern.groupindex]
        if any(name not in groups and name not in constants for name in ("account_id", "date_range")):
            raise BadRequest(f"{_SETTING} must name the groups account_id and date_range")
        self._groups = [name if name in groups else None for name in ("account_id", "date_range")]
        self._ignore = ignore
        self.machine_agents: Counter[str] | None = None

    def find_key(self, method: str, path: str, status: int) -> tuple[str | None, str | None] | None:
        """Return account and date range of an open; None when the request is none."""
        if method != "GET" or (status >= 400 and status != CLIENT_CLOSED_REQUEST):
            self._ignore(None)
            return None
        match = self._pattern.search(path)
        if match is None:
            self._ignore(path)
            return None
        account_group, range_group = self._groups
        account = match[account_group] if account_group else None
        date_range = match[range_group] if range_group else None
        return account, unquote(date_range) if date_range and "%" in date_range else date_range

    def classify(self, agent: str | None) -> str:
        """Return the actor class of a user agent, and count a program's."""
        actor, is_human = _classify(agent[:LONGEST_AGENT] if agent else None)
        counts = self.machine_agents
        if counts is not None and agent and not is_human and (agent in counts or len(counts) < _AGENTS_COUNTED):
            counts[agent] += 1
        return actor

    def select_opens(self, columns: dict[str, list[Any]], rows: Sequence[int]) -> tuple[list[int], Columns]:
        """Return the rows that are opens, and their columns with the key in place of the request.

        Args:
            columns: with `path`, and `method`, `status` and `user_agent` where the log has them.
            rows: the line of each row.
        """
        count = len(rows)
        methods, statuses = columns.get("method") or ["GET"] * count, columns.get("status") or [200] * count
        kept: list[int] = []
        keys: list[tuple[str | None, str | None]] = []
        for row, path in enumerate(columns["path"]):
            method, target = _split_request(path, methods[row])
            key = self.find_key(method, target, _to_status(statuses[row]))
            if key is not None:
                kept.append(row)
                keys.append(key)
        found = {name: [values[row] for row in kept] for name, values in columns.items()}
        found |= {"account_id": [key[0] for key in keys], "date_range": [key[1] for key in keys]}
        if "hit" not in found and "status" in found:
            found["hit"] = [
                False if _to_status(status) == CLIENT_CLOSED_REQUEST else None for status in found["status"]
            ]
        return [rows[row] for row in kept], self.add_actors(found)

    def add_actors(self, columns: Columns) -> Columns:
        """Return the columns with the actor of each row that names none but has a user agent."""
        agents = columns.get("user_agent")
        if agents is None:
            return columns
        actors = columns.get("actor") or [None] * len(agents)
        given = [
            actor if actor or not isinstance(agent, str) or not agent else self.classify(agent)
            for actor, agent in zip(actors, agents, strict=True)
        ]
        return columns | {"actor": given}


@lru_cache(maxsize=16_384)
def _classify(agent: str | None) -> tuple[str, bool]:
    """Return the actor class of a user agent as text, and whether it is a human's."""
    actor = classify_actor(agent)
    return actor.value, actor.is_human


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


def _to_status(value: Any) -> int:
    try:
        return 200 if value is None or value == "" else int(value)
    except (TypeError, ValueError, OverflowError):
        return 0
