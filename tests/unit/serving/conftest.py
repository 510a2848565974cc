"""A reader over the prefetch bench: what it fetches is what is read."""

from dataclasses import dataclass

import pytest
from sqlalchemy import Engine

from adwarm.foundation.errors import Transient
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.serving import Reader, ReadResult, read_or_fetch
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store.database import write_transaction
from adwarm.store.tables import payload
from tests.unit.conftest import PrefetchHarness


@dataclass
class ReaderHarness:
    """A reader, and the bench that fills what it reads."""

    bench: PrefetchHarness
    reader: Reader

    @property
    def engine(self) -> Engine:
        """The database."""
        return self.bench.engine

    def warm(self, *keys: ReportKey) -> None:
        """Make keys fresh."""
        self.bench.prefetch.run([KeyRequest(key) for key in keys], Priority.LOW)

    def fetch(self, key: ReportKey) -> ReadResult:
        """Read, and fetch what is not fresh."""
        return read_or_fetch(self.reader, lambda: self.bench.prefetch, key)

    def break_upstream(self, account: str = "act_1") -> None:
        """Let every call about an account fail."""

        def down(unit: FetchUnit) -> ResultPage:
            raise Transient("the platform is down")

        self.bench.source.script = {account: down}

    def corrupt_payloads(self) -> None:
        """Flip the last byte of every payload."""
        with write_transaction(self.engine) as connection:
            for row in connection.execute(payload.select()).all():
                spoiled = bytes(row.body[:-1]) + bytes([row.body[-1] ^ 1])
                connection.execute(payload.update().where(payload.c.hash == row.hash).values(body=spoiled))


@pytest.fixture
def desk(bench: PrefetchHarness) -> ReaderHarness:
    """A reader whose clock is the bench's."""
    return ReaderHarness(bench, Reader(bench.engine, bench.settings, bench.clock))
