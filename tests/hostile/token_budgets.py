"""Attacks the limits of a token that may request one new report a day, and prints what it caused.

`python -m tests.hostile.token_budgets [--before FOLDER]`; FOLDER is a checkout of an earlier commit, whose figures are
shown beside those of this code.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import httpx

from adwarm.model import ReportKey, TokenScope
from tests.benchmarks.measure import save_results
from tests.hostile.budget_home import DAYS, ORIGIN, BudgetHome, log_in, send_form

REQUESTS: Final = 270
STORED: Final = [ReportKey("act_1", f"2026-11-{day:02}..2026-11-{day:02}") for day in range(1, 24)]
"""Reports that are stored before `report_arrivals`."""
INVENTED: Final = 100
FORM_REPORTS: Final = 20
_BATCH: Final = 5
Attack = Callable[[BudgetHome, httpx.AsyncClient, dict[str, str]], Awaitable[int]]


@dataclass(frozen=True)
class Caused:
    """What an attack caused: the columns of the table."""

    what: str
    code: str
    requests: int
    calls: int
    new_entries: int
    new_keys: int
    refetches: int
    opens_of_unknown: int


async def read_ranges(home: BudgetHome, client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    """Read ranges of stored days, each of which the fallback chain answers."""
    del headers
    first = date.fromisoformat(DAYS.partition("..")[0])
    spans = [(since, until) for since, until in combinations(range(30), 2) if (since, until) != (0, 29)][:REQUESTS]
    for number, (since, until) in enumerate(spans, start=1):
        days = f"{first + timedelta(days=since)}..{first + timedelta(days=until)}"
        answer = await client.get(f"/v1/insights/act_1/{days}")
        assert answer.status_code in {200, 429}, answer.text
        if number % _BATCH == 0:
            await _drain(home)
    return len(spans)


async def report_arrivals(home: BudgetHome, client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    """Say that a day has arrived, and request its stored report, day after day."""
    del headers
    for key in STORED:
        home.served.clock.sleep(60)
        await client.post("/v1/data-arrived", json={"account": key.account_id, "days": key.date_range})
        await client.post("/v1/requests", json={"account": key.account_id, "range": key.date_range})
        await _drain(home)
    return 2 * len(STORED)


async def fill_form(home: BudgetHome, client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    """Log in to the page, and warm reports of stored days by its form."""
    first = date.fromisoformat(DAYS.partition("..")[0])
    ranges = [f"{first}..{first + timedelta(days=number)}" for number in range(1, FORM_REPORTS + 1)]
    await log_in(client, headers)
    await send_form(client, "warm-now", {"accounts": "act_1", "date_ranges": " ".join(ranges)})
    await _drain(home)
    return FORM_REPORTS


async def open_unknown(home: BudgetHome, client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    """Read reports of accounts that do not exist, one by one and in a batch."""
    del home, headers
    for number in range(INVENTED):
        await client.get(f"/v1/insights/act_7{number:03}/last_7d")
    items = [{"account": f"act_8{number:03}", "range": "last_7d"} for number in range(50)]
    await client.post("/v1/batch", json={"items": items})
    return INVENTED + 1


ATTACKS: Final[dict[str, Attack]] = {
    "ranges of stored days": read_ranges,
    "data-arrived, then a request": report_arrivals,
    "form: warm now": fill_form,
    "reads of invented accounts": open_unknown,
}


async def _drain(home: BudgetHome) -> None:
    await asyncio.sleep(0.05)  # what is requested in the background is queued
    await asyncio.to_thread(home.drain)


def attack(what: str, code: str) -> Caused:
    """Return what one attack causes with a token that may request one new report, and refetch five, a day."""
    with tempfile.TemporaryDirectory(prefix="adwarm-budgets-") as folder:
        home = BudgetHome(Path(folder))
        headers = home.served.make_headers(TokenScope.ENQUEUE, daily_new_keys=1, daily_refetches=5)
        if ATTACKS[what] is report_arrivals:
            home.warm(*STORED)
        before = home.get_facts()

        async def run() -> int:
            async with home.served.serve(headers, ORIGIN) as client:
                return await ATTACKS[what](home, client, headers)

        requests = asyncio.run(run())
        home.drain()
        after, charged = home.get_facts(), home.count()
        new = {name for name, _ in after.entries} - {name for name, _ in before.entries}
        calls, unknown = after.calls - before.calls, len(home.list_opened() - before.accounts)
        home.served.close()
    return Caused(what, code, requests, calls, len(new), charged["new_keys"], charged["refetches"], unknown)


def _attack_earlier(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of an earlier commit, measured by these attacks in a process that imports its code."""
    path = os.pathsep.join(str(folder / name) for name in ("include", "plugins"))
    command = [sys.executable, "-m", "tests.hostile.token_budgets", "--json"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True, text=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return [{**row, "code": "before"} for row in rows]


def main() -> int:
    """Attack, and print and save the table; return 0 when every limit holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="Checkout of an earlier commit.")
    parser.add_argument("--json", action="store_true", help="Print the rows as JSON only.")
    options = parser.parse_args()
    rows = [asdict(attack(what, "now")) for what in ATTACKS]
    if options.json:
        print(json.dumps(rows))
        return 0
    earlier = _attack_earlier(options.before.resolve()) if options.before else []
    table = [row for pair in zip(earlier, rows, strict=True) for row in pair] if earlier else rows
    save_results("token_budgets", "A token with 1 new report and 5 refetches a day, and what it caused", table)
    return int(any(row["new_entries"] > 1 or row["refetches"] > 5 or row["opens_of_unknown"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
