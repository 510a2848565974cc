"""A token that may cause nothing walks every route of the read API and the page, in every shape, and causes nothing."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI

from adwarm import read_api
from adwarm.model import TokenScope
from adwarm.serving.api import app
from tests.hostile.budget_home import DAYS, ORIGIN, PAGE, BudgetHome, log_in, send_form
from tests.support.route_list import list_routes

ACCOUNTS: Final = ("act_1", "act_2", "act_3", "act_8", "act_9")
"""Fresh, stale and partly stored; nothing stored; closed; named by the token's list only; unknown to everybody."""
RANGES: Final = ("yesterday", "last_7d", DAYS, "2026-11-10..2026-11-12", "last_90d", "2027-01-01..2027-01-02")
"""Fresh, stale and stored of act_1; days of it that are stored under other ranges; missing; in the future."""
SHAPES: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    ("?shape=rows", {}),
    ("?shape=ndjson&table=daily", {}),
    ("", {"Accept": "text/csv"}),
    ("", {"Adwarm-Priority": "critical", "Accept": "application/vnd.apache.arrow.stream"}),
    ("", {"Prefer": "wait=20", "Adwarm-Priority": "critical", "Adwarm-Trigger": "poll"}),
    ("", {"Accept-Encoding": "br, zstd", "Cache-Control": "no-cache"}),
)
VALUES: Final = {"request_id": ("1",), "name": ("page.css",), "run_id": ("newest",)}
"""Values of the parameters of paths, but account and range."""
KEYS: Final = [{"account": account, "range": days} for account, days in product(ACCOUNTS, RANGES)]
BODIES: Final[dict[str, list[Any]]] = {
    "/v1/batch": [{"items": KEYS, "priority": "critical"}],
    "/v1/requests": [{**key, "priority": "critical"} for key in KEYS],
    "/v1/data-arrived": [{"account": account, "days": "2026-11-20..2026-11-24"} for account in ACCOUNTS],
}
_WARM: Final = {"accounts": " ".join(ACCOUNTS), "date_ranges": "last_7d last_90d yesterday"}
FORMS: Final[dict[str, dict[str, str]]] = {
    "warm-now": _WARM,
    "retry-requests": {},
    "retry-run": {"run": "none"},
    "switch": {"switch": "calls", "position": "off"},
    "open-gate": {"scope": "account:act_1"},
}


class Walk:
    """One walk over all routes.

    Attributes:
        shapes: queries and headers with which each report is read.
        apps: the routes of the API and of the page, as the server has built them.
        statuses: how many answers had which status.
    """

    def __init__(self, home: BudgetHome, headers: dict[str, str]) -> None:
        self.home, self.headers = home, headers
        self.shapes: Sequence[tuple[str, dict[str, str]]] = SHAPES
        self.apps: list[FastAPI] = []
        self.statuses: Counter[int] = Counter()

    def run(self, *, with_page: bool) -> None:
        """Walk, end the server, and carry out whatever is queued."""
        asyncio.run(self._run(with_page=with_page))
        self.home.drain()
        if self.home.list_opened():
            self.home.served.learn(self.home.served.clock.now())

    async def _run(self, *, with_page: bool) -> None:
        async with self.home.served.serve(self.headers, ORIGIN) as client:
            api, page = self.apps
            for method, path in list_routes(api.routes):
                await self._visit(client, method, path)
            if with_page:
                await self._visit_page(client, page)

    async def _visit_page(self, client: httpx.AsyncClient, page: FastAPI) -> None:
        await log_in(client, self.headers)
        for method, path in list_routes(page.routes):
            name = path.removeprefix("/")
            if method == "GET":
                for filled in _fill(path):
                    await self._send(client, "GET", PAGE + filled.removeprefix("/"))
            elif name not in {"login", "logout"}:
                answer = await send_form(client, name, FORMS[name])
                self.statuses[answer.status_code] += 1

    async def _visit(self, client: httpx.AsyncClient, method: str, path: str) -> None:
        if method in {"GET", "HEAD"}:
            for number, filled in enumerate(_fill(path)):
                for query, headers in self._choose_shapes(number) if "{range}" in path else [("", {})]:
                    await self._send(client, "GET", filled + query, headers=headers)
            await self._send(client, "HEAD", next(iter(_fill(path))))
            return
        for body in BODIES[path]:
            await self._send(client, method, path, json=body)

    def _choose_shapes(self, number: int) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield two shapes of a report, others for its neighbors, so that each account is read in every shape."""
        first = number + number // len(RANGES)
        return (self.shapes[(first + step) % len(self.shapes)] for step in range(2))

    async def _send(self, client: httpx.AsyncClient, method: str, path: str, **options: Any) -> None:
        answer = await client.request(method, path, **options)
        self.statuses[answer.status_code] += 1
        assert answer.status_code < 500, f"{method} {path}: {answer.text}"


def _fill(path: str) -> Iterator[str]:
    """Yield a path with each combination of values; a parameter that is not in `VALUES` fails the test."""
    values = {"account": ACCOUNTS, "range": RANGES, **VALUES}
    names = [part.partition("}")[0].partition(":")[0] for part in path.split("{")[1:]]
    for chosen in product(*(values[name] for name in names)):
        filled = path.replace(":path}", "}")
        for name, value in zip(names, chosen, strict=True):
            filled = filled.replace("{" + name + "}", value)
        yield filled


@pytest.fixture
def home(tmp_path: Path) -> Iterator[BudgetHome]:
    """A home with reports of every kind."""
    home = BudgetHome(tmp_path)
    yield home
    home.served.close()


@pytest.fixture
def walk(home: BudgetHome, monkeypatch: pytest.MonkeyPatch) -> Walk:
    """A walk that knows the routes which the server builds."""
    walk = Walk(home, {})
    for module, name in ((app, "create_app"), (read_api, "build_page")):
        build = getattr(module, name)

        def keep(*args: Any, _build: Any = build) -> FastAPI:
            app: FastAPI = _build(*args)
            walk.apps.append(app)
            return app

        monkeypatch.setattr(module, name, keep)
    return walk


@pytest.mark.parametrize("scope", TokenScope)
def test_a_token_without_budgets_causes_nothing(home: BudgetHome, walk: Walk, scope: TokenScope) -> None:
    """No call, entry, account, request, notice or count, and no open of an account that is not stored."""
    walk.headers = home.served.make_headers(scope, daily_new_keys=0, daily_refetches=0)
    before = home.get_facts()
    walk.run(with_page=scope is not TokenScope.ADMIN)
    assert home.get_facts() == before
    assert home.count() == Counter(new_keys=0, refetches=0)
    assert home.list_opened() <= {"act_1", "act_2", "act_3"}
    assert walk.statuses[200] > 30
    assert (walk.statuses[429] > 0) is (scope is not TokenScope.READ)


def test_a_list_names_accounts_and_opens_none(home: BudgetHome, walk: Walk) -> None:
    """An account that is only on the list of a token is not opened by a read that finds nothing."""
    listed = frozenset({"act_1", "act_2", "act_8"})
    walk.headers = home.served.make_headers(TokenScope.ENQUEUE, accounts=listed, daily_new_keys=0, daily_refetches=0)
    before = home.get_facts()
    walk.run(with_page=False)
    assert (home.get_facts(), home.count()) == (before, Counter(new_keys=0, refetches=0))
    assert home.list_opened() <= {"act_1", "act_2"}


def test_a_token_with_budgets_is_charged_for_what_it_causes(home: BudgetHome, walk: Walk) -> None:
    """The same walk costs calls when the token may cause them, and never more new reports than it may request."""
    walk.headers = home.served.make_headers(TokenScope.ENQUEUE, daily_new_keys=3, daily_refetches=4)
    walk.shapes = [(query, headers) for query, headers in SHAPES if "Prefer" not in headers]  # nobody drains meanwhile
    before = home.get_facts()
    walk.run(with_page=True)
    after, charged = home.get_facts(), home.count()
    assert (charged["new_keys"], charged["refetches"]) == (3, 4)
    assert after.calls > before.calls
    stored = {name for name, _ in before.entries}
    assert len({name for name, _ in after.entries} - stored) <= 3
    assert after.accounts == before.accounts
