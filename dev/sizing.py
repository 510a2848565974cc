"""How large an installation has to be: calls, workers, PostgreSQL, storage, by the number of accounts.

A model of a few lines over measured unit costs (`dev/sizing.toml`), so that anyone can check and change it.
`make sizing ACCOUNTS=5000 KEYS=4 ADS=30` prints the figures of one installation; the documentation shows four.
"""

import argparse
import math
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adwarm.maintenance.eviction import KEEP_DAYS
from adwarm.settings import Settings

FACTS = Path(__file__).with_suffix(".toml")
DAY_SECONDS, HOUR_SECONDS = 86_400, 3_600
GB = 1e9

OPENS = 3.0
"""Opens of an account a day, as in the simulated day."""

WARMS_PER_OPEN = 1.9
"""Warms for an open: nine of ten are predicted, and as many that never come."""

HOURS_OF_TRAFFIC = 8
"""Hours of a day in which an account is read or warmed: a row each for readers and the warmer."""

CPU_IN_USE = 0.6
"""Share of a core that is planned for: the rest is for imports, Airflow and bursts."""

PROCESS_MB = 450
"""Memory of a task process at its peak, imports included (`make bench NAME=memory`)."""

PERMITS_PER_SECOND = 400
"""Permits that one budget grants on PostgreSQL, at the target of `make bench NAME=admission`."""

PLAN_KEYS_PER_SECOND = 100_000 / 30
"""Keys that one planning run covers a second, at the target of `make bench NAME=planning`."""


@dataclass(frozen=True)
class Installation:
    """What an installation serves.

    Attributes:
        keys: report keys of an account that people open.
        ads: ads of an account with delivery on a day.
    """

    accounts: int
    keys: int = 4
    ads: int = 30


@dataclass(frozen=True)
class Sizing:
    """What an installation needs. Sizes are in bytes, once every retention setting is reached.

    Attributes:
        calls: upstream calls in the busiest hour.
        rate: those calls a second.
        call_slots: calls in flight then, half of them to spare: `ADWARM_BACKPRESSURE__MAX_CONCURRENT`.
        cores: cores that work on calls in the busiest hour.
        tables: bytes of each large table, payloads included, indexes included.
        journal: bytes of PostgreSQL's journal a second in the busiest hour.
        commits: transactions a second in the busiest hour; each waits for the disk once.
        plan_seconds: duration of one planning run.
    """

    calls: float
    rate: float
    call_slots: int
    cores: float
    processes: int
    memory: float
    tables: dict[str, float]
    objects: float
    journal: float
    commits: float
    plan_seconds: float

    @property
    def database(self) -> float:
        """Bytes of PostgreSQL."""
        return sum(self.tables.values())


def load_facts() -> dict[str, dict[str, float]]:
    """Return the measured facts by section."""
    return tomllib.loads(FACTS.read_text(encoding="utf-8"))


def estimate(installation: Installation, settings: Settings | None = None) -> Sizing:
    """Return what an installation needs under the settings, the defaults when absent."""
    facts, chosen = load_facts(), settings or Settings()
    unit, load = facts["unit_costs"], facts["load"]
    accounts, ads = installation.accounts, installation.ads
    calls = accounts * load["calls_per_account"] / 24 * load["busiest"]
    rate = calls / HOUR_SECONDS
    call_slots = max(10, math.ceil(rate * load["call_seconds"] * 1.5))
    cores = rate * (unit["cpu_base"] + unit["cpu_ad"] * ads) / CPU_IN_USE
    processes = max(1, math.ceil(cores), math.ceil(call_slots / chosen.workers))
    warms = accounts * OPENS * WARMS_PER_OPEN / DAY_SECONDS * load["busiest"]
    return Sizing(
        calls=calls,
        rate=rate,
        call_slots=call_slots,
        cores=cores,
        processes=processes,
        memory=processes * PROCESS_MB * 1e6,
        tables=_estimate_tables(installation, unit, chosen),
        objects=accounts * chosen.retention.partition_days * (unit["object_base"] + unit["object_ad"] * ads),
        journal=warms * (unit["journal_base"] + unit["journal_ad"] * ads),
        commits=warms * unit["commits"],
        plan_seconds=accounts * installation.keys / PLAN_KEYS_PER_SECOND,
    )


def _estimate_tables(installation: Installation, unit: dict[str, float], settings: Settings) -> dict[str, float]:
    accounts, keys, ads, retention = installation.accounts, installation.keys, installation.ads, settings.retention
    # A rolling range leaves an entry a day behind, until nobody has read it for `KEEP_DAYS`.
    entries = accounts * keys * KEEP_DAYS
    payload = entries * (unit["payload_base"] + unit["payload_ad"] * ads) * unit["kept_versions"]
    return {
        "fatigue_score": accounts * ads * retention.score_days * unit["row_fatigue_score"],
        "payload": min(payload, settings.cache.max_bytes),
        "entry": entries * unit["row_entry"] * min(1.0, settings.cache.max_bytes / max(1.0, payload)),
        "partition": accounts * retention.partition_days * unit["row_partition"],
        "traffic_hour": accounts * HOURS_OF_TRAFFIC * 2 * retention.traffic_days * unit["row_traffic_hour"],
        "warm": accounts * (OPENS * WARMS_PER_OPEN + 1) * retention.history_days * unit["row_warm"],
        "access_pattern": accounts * 168 * unit["row_access_pattern"],
    }


def describe(sizing: Sizing, settings: Settings | None = None) -> dict[str, str]:
    """Return the figures as text, by what they are."""
    chosen = settings or Settings()
    largest = sorted(sizing.tables.items(), key=lambda item: -item[1])[:3]
    return {
        "calls in the busiest hour": f"{sizing.calls:,.0f}",
        "share of the default rate": f"{sizing.rate / chosen.backpressure.rate_per_second:.1%}",
        "`MAX_CALLS_PER_HOUR` to set": f"{_round_up(sizing.calls * 1.5):,}",
        "`MAX_CONCURRENT` to set": f"{sizing.call_slots:,}",
        "cores for calls": f"{sizing.cores:.1f}",
        "task processes at once": f"{sizing.processes:,}",
        "their memory": f"{sizing.memory / GB:,.1f} GB",
        "permits used": f"{sizing.rate / PERMITS_PER_SECOND:.2%}",
        "planning run": f"{sizing.plan_seconds:,.0f} s",
        "PostgreSQL": _size(sizing.database),
        "largest tables": ", ".join(f"{name} {_size(size)}" for name, size in largest),
        "commits a second": f"{sizing.commits:,.1f}",
        "journal a second": _size(sizing.journal),
        "object store": _size(sizing.objects),
    }


def _round_up(value: float) -> int:
    step: int = 10 ** max(2, math.floor(math.log10(max(1.0, value))) - 1)
    return math.ceil(value / step) * step


def _size(size: float) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size:,.0f} B"


def main(arguments: list[str]) -> int:
    """Print the figures of one installation under the settings of the environment."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("accounts", 1_000), ("keys", 4), ("ads", 30)):
        parser.add_argument(f"--{name}", type=_positive, default=default)
    chosen = vars(parser.parse_args(arguments))
    installation, settings = Installation(**chosen), Settings()
    shown = Table(title=f"{installation.accounts:,} accounts of {installation.keys} keys and {installation.ads} ads")
    shown.add_column("what")
    shown.add_column("figure", justify="right")
    for what, figure in describe(estimate(installation, settings), settings).items():
        shown.add_row(what.replace("`", ""), figure)
    Console().print(shown)
    return 0


def _positive(word: str) -> Any:
    if not word.isdigit() or not int(word):
        raise argparse.ArgumentTypeError(f"{word!r} is not a number above 0")
    return int(word)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
