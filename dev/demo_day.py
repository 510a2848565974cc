"""The day that the demo replays: how it is chosen, how its opens are read, and the report on it."""

import ctypes
import resource
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import psutil
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from adwarm.access_log import log_span, read_events
from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import BadRequest, NotFound
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import FIRST_OPEN_QUIET, Account, Actor, ReportKey, Warm, WarmReason
from adwarm.patterns.open_history import load_slots
from adwarm.patterns.opens import opens_from_frame
from adwarm.planning.explanations import format_amount
from adwarm.planning.store_view import useful_until
from adwarm.planning.warm_outcomes import mark_warm_outcomes
from adwarm.runtime import Runtime
from adwarm.serving import ReadStatus, read_or_fetch
from adwarm.settings import Settings
from adwarm.store import entries, scores, warm_usage, warms
from graph_simulator.calls import CallCounts

LOOK_BACK = timedelta(days=28)


@dataclass(frozen=True)
class Open:
    """One open of the replayed day; `first` when the key had no open in the 30 minutes before."""

    at: datetime
    key: ReportKey
    first: bool


@dataclass(frozen=True)
class ReplayDay:
    """A day of the log, from local midnight to local midnight in `zone`, with its opens in order."""

    day: date
    zone: str
    start: datetime
    end: datetime
    opens: list[Open]


def choose_day(url: str, settings: Settings) -> ReplayDay:
    """Return the last whole day of the log with at least as many opens as the median day of its last four weeks.

    Raises:
        BadRequest: the log has no whole day with an open.
    """
    _, last, _ = log_span(url, settings)
    frame = _human_events(url, settings, last - LOOK_BACK, last + timedelta(seconds=1))
    zone_name = str(frame["time_zone"].mode().iat[0]) if len(frame) else ""
    zone_name = zone_name or settings.default_zone
    days = frame["ts"].dt.tz_convert(zone_name).dt.date
    counts = days[days < local_day(last, zone_name)].value_counts()
    if counts.empty:
        raise BadRequest("the access log holds no whole day of opens; use a log of a few weeks")
    day = max(counts[counts >= counts.median()].index)
    start, end = (local_midnight(each, zone_name) for each in (day, day + timedelta(days=1)))
    return ReplayDay(day, zone_name, start, end, _opens(frame, start, end))


def read_opens(url: str, settings: Settings, start: datetime, end: datetime) -> list[Open]:
    """Return the opens of a log by humans in the half-open window, oldest first."""
    return _opens(_human_events(url, settings, start - FIRST_OPEN_QUIET, end), start, end)


def _human_events(url: str, settings: Settings, since: datetime, until: datetime) -> pd.DataFrame:
    """Return the opens by humans, oldest first. An event without an actor class counts as human."""
    frames = [batch.to_pandas() for batch in read_events(url, settings, since=since, until=until)]
    if not frames:
        raise BadRequest("the access log holds no open in its last four weeks; use a longer one")
    frame = pd.concat(frames, ignore_index=True)
    names = ["account_id", "date_range", "report", "time_zone", "actor"]
    frame[names] = frame[names].astype(str)
    is_human = frame["actor"].isin([*(actor.value for actor in Actor if actor.is_human), "", "nan", "None"])
    humans: pd.DataFrame = frame.loc[is_human]
    return humans.sort_values(["ts", "account_id", "date_range"], ignore_index=True)


def _opens(frame: pd.DataFrame, start: datetime, end: datetime) -> list[Open]:
    is_near = (frame["ts"] >= pd.Timestamp(start - FIRST_OPEN_QUIET)) & (frame["ts"] < pd.Timestamp(end))
    opens = opens_from_frame(frame[is_near]).since(to_micros(start))
    rows = zip(opens.ts.tolist(), opens.key.tolist(), opens.first.tolist(), strict=True)
    return [Open(from_micros(ts), opens.report_key(key), is_first) for ts, key, is_first in rows]


@dataclass
class HitCounts:
    """Opens and first opens, and how many of each were served fresh."""

    opens: int = 0
    hits: int = 0
    first_opens: int = 0
    first_hits: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, item: Open, *, hit: bool) -> None:
        """Count one open."""
        self.opens += 1
        self.hits += hit
        self.first_opens += item.first
        self.first_hits += item.first and hit

    @property
    def first_open_ratio(self) -> float:
        """First opens served fresh / first opens."""
        return self.first_hits / self.first_opens if self.first_opens else 0.0


@dataclass
class Readers:
    """The dashboard's readers: each open goes through the read path, and a miss is fetched while the reader waits."""

    runtime: Runtime
    clock: VirtualClock
    counts: HitCounts = field(default_factory=HitCounts)

    def read_all(self, opens: Iterable[Open]) -> None:
        """Read each open at its own time."""
        for item in opens:
            self.clock.set(item.at)
            try:
                result = read_or_fetch(self.runtime.reader, self.runtime.prefetch_engine, item.key)
            except NotFound as error:
                self.counts.errors.append(str(error))
                self.counts.add(item, hit=False)
            else:
                self.counts.add(item, hit=result.status is ReadStatus.HIT)


@dataclass
class OnDemandCounts(HitCounts):
    """The counts of a day on which only a reader's open fetches a report.

    Attributes:
        unread: first opens that waited because nobody had opened the report on that day.
        expired: first opens that waited because the entry of an earlier open had expired.
    """

    unread: int = 0
    expired: int = 0


def replay_without_warming(day: ReplayDay, runtime: Runtime) -> OnDemandCounts:
    """Return the counts of a store that is empty when the day begins and that only misses fill.

    The freshness rules are those of the day with warming, which also begins with an empty store.
    """
    fresh_until: dict[ReportKey, datetime] = {}
    counts = OnDemandCounts()
    for item in day.opens:
        expiry = fresh_until.get(item.key)
        hit = expiry is not None and item.at < expiry
        counts.add(item, hit=hit)
        if hit:
            continue
        counts.unread += item.first and expiry is None
        counts.expired += item.first and expiry is not None
        account = Account(item.key.account_id, day.zone, day.zone)
        fresh_until[item.key] = useful_until(item.key, account, item.at, runtime.settings.freshness_rules)
    return counts


@dataclass
class DemoReport:
    """All figures of the demo. Equal logs and settings give equal reports; times are kept separately."""

    log: dict[str, Any]
    plan: dict[str, Any]
    examples: list[dict[str, Any]]
    upstream: dict[str, Any]
    stored: dict[str, Any]
    fatigue: dict[str, Any]
    served: dict[str, Any]
    api: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def gather(
        cls,
        readers: Readers,
        day: ReplayDay,
        learned: Mapping[str, Any],
        calls: CallCounts,
        without_warming: OnDemandCounts,
    ) -> "DemoReport":
        """Collect the figures from the store, the simulator and the replay; `learned` are those of the training run."""
        runtime, counts = readers.runtime, readers.counts
        trained = learned["train_forecast"]
        read = learned.get("publish_splits") or learned["read_log"]
        slots = load_slots(runtime.context, day.start - FIRST_OPEN_QUIET, day.end)
        mark_warm_outcomes(runtime.context, day.end, log_end=day.end)
        statuses = warm_usage.count_by_status(runtime.engine)
        planned = warms.list_by_reason(runtime.engine, WarmReason.PREDICTED_OPEN)
        insights = sum(count for path, count in calls["paths"].items() if path.rstrip("/").endswith("insights"))
        return cls(
            log={
                "opens_learned": trained["opens"],
                "first_opens_learned": trained["first_opens"],
                "keys": trained["keys"],
                "rejected_lines": read["rejected"],
                "rejected_by_reason": read["rejected_by_reason"],
                "replayed_day": day.day.isoformat(),
                "time_zone": day.zone,
                "first_account": min((item.key.account_id for item in day.opens), default=""),
                "opens_on_the_day": int(slots[slots["slot"] >= day.start]["opens"].sum()) if len(slots) else 0,
            },
            plan={
                "warms_planned": len(planned),
                "days_closed": len(warms.list_by_reason(runtime.engine, WarmReason.DAY_CLOSED)),
                "days_left_to_the_daily_run": warm_usage.count_cut(runtime.engine, WarmReason.DAY_CLOSED),
                "strategy_warms": len(warms.list_by_reason(runtime.engine, WarmReason.STRATEGY)),
                "cut_by_the_budget": warm_usage.count_cut(runtime.engine, WarmReason.PREDICTED_OPEN),
                "used": statuses["used"],
                "wasted": statuses["wasted"],
                "failed": statuses.get("failed", 0),
            },
            examples=_examples(planned),
            upstream={"total": calls["total"], "insights": insights, "by_status": calls["statuses"]},
            stored=entries.get_totals(runtime.engine),
            fatigue=scores.count_by_status(runtime.engine),
            served={
                "opens": counts.opens,
                "first_opens": counts.first_opens,
                "hit_ratio": round(counts.hits / counts.opens, 4) if counts.opens else 0.0,
                "first_open_hit_ratio": round(counts.first_open_ratio, 4),
                "first_open_hit_ratio_without_warming": round(without_warming.first_open_ratio, 4),
                "calls_without_warming": without_warming.opens - without_warming.hits,
                "unread_without_warming": without_warming.unread,
                "expired_without_warming": without_warming.expired,
                "unanswered": len(counts.errors),
            },
            problems=counts.errors[:10],
        )

    def show(self, console: Console, times: Mapping[str, float]) -> None:
        """Print the table; `times` are those of `measure_times`."""
        table = Table(title="Results", show_header=False, title_justify="left", pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column()
        for name, value in self._lines(times):
            table.add_row(name, value)
        console.print(table)
        console.print("\n[bold]Three of the planned warms[/bold]")
        for example in self.examples:
            expected = f"open expected {example['predicted_open']}, probability {format_amount(example['confidence'])}"
            console.print(Padding(Text(f"{example['key']}: {expected}"), (0, 0, 0, 2), expand=False))
            console.print(Padding(Text(example["why"]), (0, 0, 0, 4), expand=False))

    def write(self, path: Path, times: Mapping[str, float]) -> None:
        """Write the figures as JSON; only the part `times` differs between equal runs."""
        path.write_bytes(orjson.dumps({**asdict(self), "times": times}, option=orjson.OPT_INDENT_2))

    def exit_code(self, console: Console) -> int:
        """Print the opens that could not be served, and return 1 if there are any, else 0."""
        for text in self.problems:
            console.print(f"[red]{text}[/red]")
        return 1 if self.problems else 0

    def _lines(self, times: Mapping[str, float]) -> list[tuple[str, str]]:
        log, plan, stored, served = self.log, self.plan, self.stored, self.served
        ratio = stored["stored_bytes"] / stored["raw_bytes"] if stored["raw_bytes"] else 1.0
        learned = f"{log['opens_learned']:,} ({log['first_opens_learned']:,} first opens)"
        planned = f"{plan['warms_planned']:,}, {plan['cut_by_the_budget']:,} cut by the budget"
        compressed = f"{stored['raw_bytes']:,} -> {stored['stored_bytes']:,} ({ratio:.1%})"
        settled = f"{plan['days_closed']:,}, {plan['days_left_to_the_daily_run']:,} left to the daily run"
        with_warming = f"[bold green]{served['first_open_hit_ratio']:.1%}[/bold green] with warming"
        without_warming = f"{served['first_open_hit_ratio_without_warming']:.1%} without"
        return [
            ("opens trained on", learned),
            ("keys (account x date range)", f"{log['keys']:,}"),
            ("rejected log lines", f"{log['rejected_lines']:,} {log['rejected_by_reason'] or ''}"),
            ("replayed day", f"{log['replayed_day']} ({log['time_zone']}), {served['opens']:,} opens"),
            ("warms planned by the forecast", planned),
            ("accounts whose day was settled", settled),
            ("warms by the strategy", f"{plan['strategy_warms']:,}"),
            ("warms used / wasted so far", f"{plan['used']:,} / {plan['wasted']:,}"),
            ("upstream requests", f"{self.upstream['insights']:,} insights, {self.upstream['total']:,} in total"),
            ("entries written", f"{stored['entries']:,}"),
            ("bytes before and after compression", compressed),
            ("fatigue scores by band", ", ".join(f"{name} {count:,}" for name, count in self.fatigue.items())),
            ("first opens served fresh", f"{with_warming}, {without_warming}"),
            (f"why {without_warming}", self._why_without()),
            *self._api_lines(times),
            ("wall time, peak memory", f"{times['wall_seconds']:.0f} s, {times['peak_memory_mb']:,} MB"),
        ]

    def _api_lines(self, times: Mapping[str, float]) -> list[tuple[str, str]]:
        """Return what reading through the API gave."""
        api = self.api
        if not api.get("timed_reads"):
            return []
        percentiles = ", ".join(f"p{share} {times[f'hit_p{share}_ms']:g} ms" for share in (50, 95, 99))
        rows, first, later = api["row_bytes"], api["first_visit_bytes"], api["next_morning_bytes"]
        learned = api["opens_learned"]
        return [
            ("reports read over HTTP", f"{api['reports']:,} in the evening, {api['hits']:,} of them fresh"),
            ("latency of a hit", f"{percentiles} over {api['timed_reads']:,} reads, client and server in one process"),
            ("bytes of a first visit", f"{first:,} by zstd; {rows:,} as rows of JSON ({first / rows:.1%})"),
            ("bytes when nothing changed", f"{api['unchanged_bytes']:,} (304)"),
            ("bytes on the next morning", f"{later:,} by zstd"),
            (
                "opens that the API logged",
                f"{api['opens_by_readers']:,} by readers, {api['opens_by_scripts']:,} by a script; {learned:,} counted",
            ),
        ]

    def _why_without(self) -> str:
        """Return why first opens wait without warming: each is counted under one reason, or served."""
        served = self.served
        unread, expired = served["unread_without_warming"], served["expired_without_warming"]
        text = (
            f"nothing is fetched before a reader asks: {unread:,} of {served['first_opens']:,} are the first open of "
            f"their report that day, {expired:,} come after the entry of an earlier open has expired"
        )
        served_opens = served["first_opens"] - unread - expired
        return f"{text}, {served_opens:,} find an entry" if served_opens else text


def release_memory() -> None:
    """Return free memory to the system. In an installation, the process of a task that trains ends."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the GNU C library
    if trim is not None:
        trim(0)


def measure_times(seconds: float, simulator: int) -> dict[str, float]:
    """Return the demo's wall time, and its peak memory in MB.

    Args:
        simulator: memory of the simulator in bytes, which runs when this process takes less than at its peak.
    """
    unit = 1 if sys.platform == "darwin" else 2**10
    peak = max(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, psutil.Process().memory_info().rss + simulator
    )
    return {"wall_seconds": round(seconds, 1), "peak_memory_mb": round(peak / 2**20)}


def _examples(rows: list[Warm]) -> list[dict[str, Any]]:
    """Return three planned warms: the most confident, the median and the least confident one."""
    ranked = sorted(rows, key=lambda row: (-row.confidence, row.key.account_id, row.key.date_range, row.decided_at))
    indices = sorted({0, len(ranked) // 2, len(ranked) - 1}) if ranked else []
    return [
        {
            "key": f"{row.key.account_id} {row.key.date_range}",
            "predicted_open": f"{row.predicted_open:%Y-%m-%d %H:%M} UTC",
            "warm_at": f"{row.warm_at:%Y-%m-%d %H:%M} UTC",
            "confidence": round(row.confidence, 2),  # the digits that are shown
            "why": row.explanation.get("why", ""),
        }
        for row in (ranked[index] for index in indices)
    ]
