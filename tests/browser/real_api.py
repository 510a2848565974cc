"""`adwarm serve` with an embedded database, in the state that a test puts it into."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from sqlalchemy import insert

from adwarm.backpressure.budget_rows import _breaker_row
from adwarm.compression.document import CONTENT_TYPE, decode_document, pack_document
from adwarm.foundation.circuit import Breaker, BreakerRules
from adwarm.model import AccessToken, Account, FatigueScore, Priority, ReportKey, TokenScope, resolve_key
from adwarm.runtime import Runtime
from adwarm.serving.tokens import make_token
from adwarm.settings import load_settings
from adwarm.store import access_tokens, accounts, entries, entry_versions, scores, write_transaction
from adwarm.store.capacity_tables import breaker
from adwarm.store.entries import Entry
from adwarm.store.entry_versions import EntryVersion, VersionLimits

from .sample_report import make_document, make_scores

ROOT = Path(__file__).resolve().parents[2]
RANGES = ("last_7d", "last_28d")
NAMES = {"act_1001": "Northwind Outdoor", "act_1002": "Harbor Coffee", "act_1003": "Atlas Luggage"}


class RealApi:
    """The server, and the changes of its database that a test asks for. Call `close` at the end.

    Args:
        dashboard: folder of the built dashboard.
        home: an empty folder.
    """

    def __init__(self, dashboard: Path, home: Path) -> None:
        self._runtime = Runtime(load_settings(home=home))
        self._revision = 0
        now = datetime.now(UTC)
        found = [Account(account, "UTC", "UTC", name=name, currency="EUR") for account, name in NAMES.items()]
        accounts.save(self._runtime.engine, found, now)
        made = make_token()
        self._token_id, self.token = made.id, made.text
        token = AccessToken(
            id=made.id,
            name="browser",
            scopes=frozenset({TokenScope.ENQUEUE}),
            accounts=frozenset(NAMES),
            highest_priority=Priority.HIGH,
            created_at=now,
        )
        access_tokens.insert_token(self._runtime.engine, token, made.secret_hash)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ADWARM_", "AIRFLOW_"))},
            "PYTHONPATH": os.pathsep.join([str(ROOT / "include"), str(ROOT / "plugins")]),
            "ADWARM_HOME": str(home),
            "ADWARM_SERVING__DASHBOARD": str(dashboard),
            "ADWARM_SERVING__POINTER_SECONDS": "0",
        }
        with (home / "serve.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "adwarm", "serve", "--port", "0", "--json"],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        document = ""
        while not document.endswith("}\n"):
            line = self._process.stdout.readline().decode()
            assert line, (home / "serve.log").read_text()
            document += line
        self.url: str = json.loads(document)["url"]

    def close(self) -> None:
        """Stop the server."""
        self._process.terminate()
        self._process.wait(timeout=30)

    def store(self, account: str, *, age_seconds: float = 240, is_stale: bool = False) -> None:
        """Store the reports of an account, with a last day that differs from what was stored before, and scores."""
        self._revision += 1
        now = datetime.now(UTC)
        for date_range in RANGES:
            self._publish(ReportKey(account, date_range), now, age_seconds, is_stale=is_stale)
        listed = [
            FatigueScore(
                account_id=account,
                as_of=now.date() - timedelta(days=1),
                **{name: score[name] for name in _SCORE_FIELDS},
                baseline={"flags": []},
                calculator_version="test",
            )
            for score in make_scores(now)
        ]
        scores.publish(self._runtime.engine, listed, self._revision, settled=False, at=now)

    def _publish(self, key: ReportKey, now: datetime, age_seconds: float, *, is_stale: bool) -> None:
        settings = self._runtime.settings
        entry_key = resolve_key(key, Account(key.account_id, "UTC", "UTC"), settings.spec(key.report), now)
        fetched_at = now - timedelta(seconds=age_seconds)
        days = list(entry_key.window.days())
        fields = make_document(key.account_id, key.date_range, days, fetched_at, self._revision)
        document = decode_document(json.dumps(fields).encode(), CONTENT_TYPE)
        packed, content_hash = pack_document(document, settings.compression)
        entry = Entry(
            key=entry_key,
            date_range=key.date_range,
            report=key.report,
            codec=packed.codec,
            raw_bytes=packed.raw_bytes,
            stored_bytes=packed.stored_bytes,
            fetched_at=fetched_at,
            expires_at=now + timedelta(minutes=-10 if is_stale else 60),
            source="meta",
            data_version=self._revision,
            content_hash=content_hash,
            content_type=CONTENT_TYPE,
        )
        with write_transaction(self._runtime.engine) as connection:
            [digest] = entries.publish(connection, [(entry, packed.blob)], self._revision, now)
            version = EntryVersion(
                key,
                entry_key.window,
                entry_key.spec_hash,
                content_hash,
                digest,
                entry.raw_bytes,
                entry.stored_bytes,
                created_at=now,
            )
            entry_versions.save(connection, [version], VersionLimits.of(settings.compression))

    def announce(self, account: str) -> None:
        """Make an account known whose reports are not stored."""
        assert account in NAMES

    def revoke_token(self) -> None:
        """End the token, and wait until the server has noticed."""
        access_tokens.revoke(self._runtime.engine, self._token_id, datetime.now(UTC))
        headers = {"Authorization": f"Bearer {self.token}"}
        deadline = time.monotonic() + 10
        while httpx.get(f"{self.url}/v1/queue", headers=headers).status_code != 401:
            assert time.monotonic() < deadline, "a revoked token still works"
            time.sleep(0.1)

    def open_breaker(self) -> None:
        """Open the breaker of the source by calls that fail."""
        now = datetime.now(UTC).timestamp()
        state, rules = Breaker(), BreakerRules(min_calls=24)
        for number in range(24):
            state = state.after_call(rules, now, f"call {number}", failed=number >= 4)
        with write_transaction(self._runtime.engine) as connection:
            connection.execute(insert(breaker), [_breaker_row("meta", state)])


_SCORE_FIELDS = (
    "ad_id",
    "ad_name",
    "status",
    "total",
    "creative",
    "audience",
    "algorithm",
    "data_quality",
    "trend_per_day",
    "days_to_critical",
)
