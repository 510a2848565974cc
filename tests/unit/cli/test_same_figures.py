"""A store that is filled at random shows one number for one thing on every surface: page, commands, read API, digest.

Each comparison reads what a surface shows: the HTML of a tile, the output of a command, the body of an answer.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.fatigue.score import CRITICAL_FROM, WARNING_FROM
from adwarm.foundation import telemetry
from adwarm.foundation.gate import Gate, OpenedBy, Rule
from adwarm.maintenance.platform_watch import NOTHING, STEP
from adwarm.maintenance.state_metrics import StateReader
from adwarm.model import AccessToken, Account, CallCause, CauseKind, FatigueScore, TokenScope, WarmReason, WarmStatus
from adwarm.pages.application import build_page
from adwarm.pages.views import TABS
from adwarm.read_api import build_read_api
from adwarm.runtime import Runtime
from adwarm.serving.tokens import make_token
from adwarm.store import (
    access_tokens,
    accounts,
    alerts,
    gates,
    maintenance_steps,
    read_traffic,
    requests,
    snapshots,
    write_transaction,
)
from adwarm.store.warms import table as warm
from tests.support import fatigue_scores
from tests.support.asgi_client import AsgiClient
from tests.support.gate_rows import breaker_row, park_row
from tests.unit.cli.conftest import Adwarm
from tests.unit.conftest import NOW
from tests.unit.pages.conftest import NamedAccess

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
START = NOW.replace(minute=0)
ACCOUNTS = [f"act_{number}" for number in range(1, 9)]
LOSSES = (0.0, -0.2, 0.1496, 0.15, 0.1551, 0.29, 0.3499, 0.35, 0.6, None)
"""Some are just below a limit, where a rounded figure would show the limit."""


@dataclass
class Surfaces:
    """What users see of one store."""

    runtime: Runtime
    adwarm: Adwarm
    page: AsgiClient
    api: AsgiClient
    token: str

    def html(self, tab: str, name: str, **query: object) -> str:
        """Return a tile as HTML."""
        answer = self.page.get(f"/tiles/{tab}/{name}", params=query, headers={"x-visitor": "admin"})
        assert answer.status_code == 200, answer.text
        return answer.text

    def tile(self, tab: str, name: str, **query: object) -> str:
        """Return a tile as text, in which `|` stands between elements."""
        return re.sub(r"[\s|]*\|[\s|]*", "|", re.sub(r"<[^>]*>", "|", self.html(tab, name, **query)))

    def number(self, pattern: str, text: str) -> float:
        """Return the only number that a pattern finds."""
        [found] = re.findall(pattern, text)
        return float(found.replace(",", ""))

    def get(self, path: str) -> Any:
        """Return an answer of the read API."""
        answer = self.api.get(path, headers={"authorization": self.token})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def json(self, *words: str) -> Any:
        """Return the document that a command prints."""
        return self.adwarm(*words, "--json").json

    def check(self, name: str) -> str:
        """Return the detail of a check of the doctor."""
        return str(self.json("doctor", "--only", name)[0]["detail"])

    def metrics(self) -> Mapping[str, float]:
        """Return the sum of each state metric."""
        totals: Counter[str] = Counter()
        for sample in StateReader(self.runtime.context, self.runtime.clock, self.runtime.queue).read():
            totals[sample.metric.name] += sample.value  # type: ignore[assignment]
        return totals


@pytest.fixture(params=[1, 2, 3])
def surfaces(
    request: pytest.FixtureRequest, engine: Engine, adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Surfaces]:
    """The surfaces of a store that is filled at random."""
    monkeypatch.setenv("ADWARM_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    _Filler(engine, random.Random(request.param)).fill()
    new = make_token()
    token = AccessToken(id=new.id, name="reader", scopes=frozenset({TokenScope.READ}), created_at=START)
    access_tokens.insert_token(engine, token, new.secret_hash)
    runtime = Runtime()
    page = AsgiClient(build_page(TABS, lambda: runtime.page_services, NamedAccess()))
    yield Surfaces(runtime, adwarm, page, AsgiClient(build_read_api(runtime)), f"Bearer {new.text}")
    runtime.engine.dispose()


@dataclass
class _Filler:
    """Fills a store with rows that no rule ties to each other."""

    engine: Engine
    random: random.Random

    def fill(self) -> None:
        names = [Account(name, currency=self.random.choice(["EUR", "USD"])) for name in ACCOUNTS]
        accounts.save(self.engine, names, START)
        self._add_traffic()
        with write_transaction(self.engine) as connection:
            connection.execute(warm.insert(), [self._make_warm() for _ in range(300)])
            connection.execute(alerts.alert.insert(), [self._make_alert(number) for number in range(160)])
            connection.execute(gates.table.insert(), self._list_gates())
            connection.execute(requests.table.insert(), [self._make_request(number) for number in range(600)])
            facts = {**NOTHING, "alerted": [], "credential": "c", "app": "app:7", "asked": "v25.0", "problems": {}}
            state = {"default": {**facts, "read_at": START.isoformat()}}
            step = {"name": STEP, "cursor": state, "started_at": START, "owner": ""}
            connection.execute(maintenance_steps.table.insert(), [step])
            for back in range(4):
                connection.execute(snapshots.forecast_snapshot.insert(), [self._make_snapshot(back)])
        self._add_scores()

    def _add_traffic(self) -> None:
        for back in range(0, 24 * 16, 3):
            at, first = START - back * HOUR, self.random.randrange(9)
            read_traffic.increment(
                self.engine, at, self.random.choice(ACCOUNTS), self.random.choice(["human", "warmer"]),
                latency_ms=1.0, hits=self.random.randrange(5), misses=self.random.randrange(3), stale=1,
                first_opens=first, first_hits=self.random.randint(0, first),
            )  # fmt: skip
            cause = CallCause(self.random.choice([kind for kind in CauseKind if kind is not CauseKind.STRATEGY]))
            calls = self.random.randrange(60)
            read_traffic.count_calls(self.engine, at, self.random.choice([*ACCOUNTS, ""]), cause, calls=calls)

    def _make_warm(self) -> dict[str, Any]:
        at = START - self.random.randrange(24 * 10) * HOUR - timedelta(minutes=self.random.randrange(60))
        status = self.random.choice([WarmStatus.FETCHED, WarmStatus.FETCHED, WarmStatus.SHADOW, WarmStatus.FRESH])
        mark = self.random.choice([{"used": True}, {"used": False}, {"superseded_by": 1}, {}])
        is_marked = status is not WarmStatus.FRESH
        return {
            "run_id": "dag/run", "account_id": self.random.choice(ACCOUNTS), "date_range": "yesterday",
            "reason": self.random.choice(list(WarmReason)), "mode": "shadow" if status == "shadow" else "live",
            "decided_at": at, "warm_at": at, "status": status, "fetched_at": at, "expires_at": at + 3 * HOUR,
            "requests": self.random.randrange(1, 4), "used": None, "superseded_by": None, "first_use": None,
            **(mark if is_marked else {}),
        }  # fmt: skip

    def _make_alert(self, number: int) -> dict[str, Any]:
        kind, scope = self.random.choice(["Denied", "Transient", "Corrupt", "FieldRefused"]), f"account:act_{number}"
        return {
            "kind": kind, "scope": scope, "opened_at": START, "last_at": START, "errors": 1, "window_seconds": 0.0,
            "reason": "", "next_step": "Wait.", "resolved_at": self.random.choice([None, None, START]),
        }  # fmt: skip

    def _list_gates(self) -> list[dict[str, Any]]:
        now = START.timestamp()
        denied = [Gate(f"account:{name}", Rule.DENIAL, now, now + 9e6, "no", OpenedBy.PERSON) for name in ACCOUNTS]
        dead = Gate("connection:eu", Rule.ISOLATION, now, now + 9e6, "the token is dead", OpenedBy.CREDENTIAL)
        all_denied = self.random.sample(denied, 3)
        each = [replace(gate, scope=f"connection:{name} {gate.scope}") for gate in all_denied for name in ("eu", "us")]
        rows = [gates.to_row(gate) for gate in (*all_denied, *each, dead)]
        return [
            *rows,
            park_row("account:act_20", now + 9e6),
            breaker_row("source:meta account:act_9", "open", now, now),
        ]

    def _make_request(self, number: int) -> dict[str, Any]:
        status = self.random.choice(["failed", "expired", "shed", "completed", "pending"])
        is_open = status == "pending"
        at = START + 9_990 * DAY if is_open else START - self.random.randrange(30) * HOUR
        return {
            "account_id": f"act_{number if is_open else self.random.randrange(9_999)}", "date_range": "today",
            "priority": self.random.randrange(4), "status": status, "enqueued_at": at, "attempts": 1, "error": "no",
            "deadline": START + self.random.choice([-1, 1, 1]) * 9_999 * DAY, "finished_at": None if is_open else at,
        }  # fmt: skip

    def _make_snapshot(self, back: int) -> dict[str, Any]:
        at = START - back * DAY
        return {
            "id": f"s{back}", "kind": "seasonal", "version": "1", "object_hash": "h", "trained_from": at,
            "trained_until": at, "keys": self.random.randrange(1, 50), "features": [], "metrics": {}, "created_at": at,
        }  # fmt: skip

    def _add_scores(self) -> None:
        for name in ACCOUNTS:
            newest = START.date() - timedelta(days=self.random.randrange(1, 8))
            has_spend = self.random.random() < 0.8
            for day in (newest - timedelta(days=self.random.randrange(1, 4)), newest):
                scores = [self._make_score(name, f"{n}", day, has_spend=has_spend) for n in range(30)]
                creative = self._make_score(name, "creative-9", day, has_spend=has_spend)
                parts = [
                    replace(self._make_score(name, f"9{n}", day, has_spend=has_spend), part_of="creative-9")
                    for n in range(3)
                ]
                fatigue_scores.publish(self.engine, [creative, *parts, *self.random.sample(scores, 27)], 1, True, START)

    def _make_score(self, account_id: str, ad_id: str, day: Any, *, has_spend: bool) -> FatigueScore:
        loss = self.random.choice(LOSSES)
        status = "pending" if loss is None else "critical" if loss >= CRITICAL_FROM else "healthy"
        status = "warning" if loss is not None and WARNING_FROM <= loss < CRITICAL_FROM else status
        return fatigue_scores.make_score(
            ad_id, day, account_id=account_id, status=status, loss=loss,
            total=None if loss is None else max(0.0, 100 * loss),
            alarm=self.random.choice(["none", "none", "watch", "alarm"]),
            days_to_critical=self.random.choice([None, 2.0, 30.0]),
            recent_spend=self.random.choice([None, 10.0, 300.5]) if has_spend else None,
        )  # fmt: skip


pytestmark = pytest.mark.slow


def test_calls_and_opens(surfaces: Surfaces) -> None:
    """Calls and first opens of a day and a week; and what warming everything would take is not below what was made."""
    status, now, hits = surfaces.json("status"), surfaces.tile("now", "calls"), surfaces.tile("now", "hits")
    made = surfaces.number(r"\|Made\|([\d,]+)\|(?!Warming)", now)
    assert made == status["calls_24h"]["made"] == status["traffic_24h"]["upstream_calls"]
    assert made == sum(item["calls"] for item in status["calls_24h"]["causes"])
    day, _, compared = now.partition("in UTC|Calls|")
    assert surfaces.number(r"about ([\d,]+)", compared) >= surfaces.number(r"\|?Made\|([\d,]+)", compared)
    assert "about" not in day
    app = surfaces.number(r"the app 7\|([\d,]+)\|", surfaces.tile("flow", "platform"))
    assert app == surfaces.number(r"app:7: ([\d,]+) calls", surfaces.check("access tier")) >= made

    opens = f"{int(status['traffic_24h']['first_opens']):,}"
    assert f"last 24 hours|{opens} first opens" in hits
    assert f" of {opens} first opens in the last 24 hours" in surfaces.tile("now", "headline")
    week = re.findall(r"\|([^|]+)\|last 7 days\|([\d,]+) first opens", hits)
    assert week == re.findall(r"- (\S+) of ([\d,]+) first opens found", surfaces.json("status", "--digest")["text"])


def test_warms(surfaces: Surfaces) -> None:
    """Used and wasted warms of a week; each fetched warm counts in one of four results."""
    status, tile = surfaces.json("status"), surfaces.tile("now", "efficiency")
    rows = [row for row in status["usage_7d"] if row["mode"] != "shadow"]
    used, marked = sum(row["used"] for row in rows), sum(row["used"] + row["wasted"] for row in rows)
    assert f"|{used:,} of {marked:,}, last 7 days|" in tile
    [share] = re.findall(r"\|([^|]+)\|of warmed reports were opened while fresh", tile)
    assert f"{share} of {marked:,} warms were opened while fresh" in surfaces.json("status", "--digest")["text"]
    warms = status["warms"]
    assert warms["fetched"] == sum(warms[name] for name in ("used", "wasted", "superseded", "open"))


def test_what_is_closed_open_or_waits(surfaces: Surfaces) -> None:
    """Gates, alerts, the queue and reports that did not come; and the digest counts each thing to do once."""
    closed, metrics = surfaces.json("gate", "list")["gates"], surfaces.metrics()
    assert len(closed) == len(surfaces.json("status")["gates"]) == metrics[telemetry.GATES.name]
    shown = [surfaces.html(*tile).count('<th scope="row">') for tile in (("flow", "gates"), ("actions", "blocks"))]
    assert shown == [len(closed)] * 2
    assert {item["scope"] for item in surfaces.get("/v1/gates")["gates"]} == {item["scope"] for item in closed}

    raised = surfaces.json("errors", "--alerts", "--open", "--limit", "1000")
    assert surfaces.number(r"\|([\d,]+) open", surfaces.tile("now", "alerts")) == len(raised)
    assert surfaces.number(r"\|([\d,]+) alerts are open", surfaces.tile("now", "headline")) == len(raised)
    assert surfaces.number(r"([\d,]+) alerts open", surfaces.check("alerts")) == len(raised)
    assert metrics[telemetry.OPEN_ALERTS.name] == len(raised)

    by_person = [gate for gate in closed if gate["opened_by"] in {"person", "credential"}]
    denials = [gate for gate in by_person if gate["rule"] == "denial"]
    scopes = {gate["scope"] for gate in by_person}
    others = [item for item in raised if item["kind"] != "Denied" and item["scope"] not in scopes]
    digest = surfaces.json("status", "--digest")
    things = len(by_person) - len(denials) + 1 + len(others)
    assert surfaces.number(r"([\d,]+) things to do", digest["title"]) == things
    [line] = [line for line in digest["text"].splitlines() if line.startswith("- denied by the platform")]
    assert [line.count(gate["scope"].removeprefix("account:")) for gate in denials] == [1, 1, 1]

    queue = surfaces.json("status")["queue"]
    assert f"|{queue['pending']:,} of at most {queue['size']:,} wait|" in surfaces.tile("flow", "queue")
    assert f"|Requests that wait|{queue['pending']:,}|" in surfaces.tile("now", "headline")
    assert metrics[telemetry.QUEUE_PENDING.name] == queue["pending"] == surfaces.get("/v1/queue")["pending"]
    dead = surfaces.number(r"\|([\d,]+) in 24 hours", surfaces.tile("flow", "dead"))
    assert dead == surfaces.number(r"\|([\d,]+) reports were", surfaces.tile("actions", "failed"))
    assert dead > 200  # more than one form requests again


def test_fatigue(surfaces: Surfaces) -> None:
    """Creatives that need action, sums and changes of each account and of all; a shown loss agrees with its status."""
    today, overview = surfaces.tile("fatigue", "today"), surfaces.tile("fatigue", "overview")
    due = surfaces.number(r"^\|?([\d,]+)\|of [\d,]+ creatives", today)
    digest = surfaces.json("status", "--digest")
    assert surfaces.number(r"([\d,]+) creatives need action", digest["title"]) == due
    assert surfaces.number(r"and ([\d,]+) more: the tab Fatigue", digest["text"]) == due - 5
    alarms, before = (surfaces.number(pattern, overview) for pattern in (
        r"\|?([\d,]+)\|alarms\|", r"\|alarms\|([\d,]+) on the scored day before\|"))  # fmt: skip
    new = re.findall(r"New alarms: ([\d,]+)", surfaces.tile("fatigue", "changes"))
    assert int(new[0]) >= alarms - before

    for name in ACCOUNTS:
        _compare_account(surfaces, name)
    text = surfaces.tile("fatigue", "ads")
    for status, percent in re.findall(r"\|(healthy|warning|critical)\|(?:alarm\||watch\|)?(?:[^|%]*\|)?(\d+)%\|", text):
        least = {"healthy": 0, "warning": 15, "critical": 35}[status]
        assert least <= int(percent) < {"healthy": 15, "warning": 35, "critical": 101}[status]


def _compare_account(surfaces: Surfaces, name: str) -> None:
    command = surfaces.json("fatigue", name)["summary"]
    answer = surfaces.get(f"/v1/scores/{name}/summary")
    assert {key: command[key] for key in command if key != "account_id"} == {
        key: answer[key] for key in answer if key not in {"account", "currency"}
    }
    tile = surfaces.tile("fatigue", "overview", account=name)
    for status in ("critical", "warning", "healthy", "pending"):
        assert f"|{command['statuses'][status]:,}|{status}|" in tile
    assert re.findall(r"\|?([\d,]+)\|alarms\|", tile) == [f"{command['alarms']:,}"]
    assert f"|{command['score']:.1f}|mean score|" in tile
    changes = Counter(item["kind"] for item in surfaces.json("fatigue", name, "--changes")["changes"])
    page = surfaces.tile("fatigue", "changes", account=name)
    titles = {
        "alarm": "New alarms",
        "worse": "Worse status",
        "recovered": "Alarms that ended",
        "better": "Better status",
    }
    shown = {kind: int((re.findall(rf"{title}: ([\d,]+)", page) or ["0"])[0]) for kind, title in titles.items()}
    assert shown == {kind: changes[kind] for kind in titles}
