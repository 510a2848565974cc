"""Counts the SQL statements that a database was sent, from the log of its server.

The build of PostgreSQL that the tests use has no `pg_stat_statements`. With `log_statement = all` the server writes a
line for every message of the simple protocol, whichever process sent it: that is one round trip, also when the message
holds many rows. What opens and closes transactions and what checks a pooled connection is counted apart.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

_LINE = re.compile(r"^db=(?P<database>\S*) LOG:  statement: (?P<sql>.*)")
_SPACES = re.compile(r"\s+")
_VALUES = re.compile(r"'(?:[^']|'')*'(?:::\w+)?|\b\d+(?:\.\d+)?\b")
_LISTS = re.compile(r"\((?:\?|NULL|true|false|, ?)+\)(?:, ?\((?:\?|NULL|true|false|, ?)+\))*")
_TRANSACTION = ("BEGIN", "COMMIT", "ROLLBACK", "SET ", "SHOW ", "SAVEPOINT", "RELEASE")
_PING = "SELECT ?"
_LENGTH = 120


@dataclass
class StatementCounts:
    """Messages that a database was sent.

    Attributes:
        statements: those that read or write, by their text without values.
        transactions: those that open or close a transaction, or set up a session.
        pings: checks of a pooled connection.
    """

    statements: Counter[str] = field(default_factory=Counter)
    transactions: int = 0
    pings: int = 0

    @property
    def total(self) -> int:
        """Number of statements that read or write."""
        return self.statements.total()

    @property
    def round_trips(self) -> int:
        """Number of all messages."""
        return self.total + self.transactions + self.pings

    def add(self, sql: str) -> None:
        """Count one message."""
        normal = _normalize(sql)
        if normal.startswith(_TRANSACTION):
            self.transactions += 1
        elif normal == _PING:
            self.pings += 1
        else:
            self.statements[normal] += 1


def log_statements(server_url: str, database: str) -> None:
    """Let the server log every statement that new connections send to `database`."""
    url = make_url(server_url.replace("postgresql://", "postgresql+psycopg2://", 1))
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("ALTER SYSTEM SET log_line_prefix = 'db=%d '"))
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text(f"ALTER DATABASE {database} SET log_statement = 'all'"))
    engine.dispose()


def count_statements(log: Path, database: str, start: int) -> StatementCounts:
    """Return the messages that a server has logged for a database since the byte `start` of its log."""
    counts = StatementCounts()
    with log.open(encoding="utf-8", errors="replace") as lines:
        lines.seek(start)
        for sql in _read_messages(lines, database):
            counts.add(sql)
    return counts


def _read_messages(lines: Iterable[str], database: str) -> Iterator[str]:
    """Yield the texts of messages; the lines that follow a message's first one begin with a tab."""
    current: list[str] = []
    for line in lines:
        if line.startswith("\t"):
            if current and len(current) < _LENGTH:
                current.append(line)
            continue
        if current:
            yield "".join(current)
        found = _LINE.match(line)
        current = [found["sql"]] if found and found["database"] == database else []
    if current:
        yield "".join(current)


def _normalize(sql: str) -> str:
    """Return a statement without its values, cut to a length that tells statements apart."""
    short = _SPACES.sub(" ", sql[:4_000]).strip()
    return _LISTS.sub("(...)", _VALUES.sub("?", short))[:_LENGTH]
