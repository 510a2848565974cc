"""The open log is read without configuration, alone or beside the user's log, and an open in both counts once."""

import gzip
import shutil
import tempfile
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account
from adwarm.patterns.ingest.run import IngestResult, commit_saved_plan, ingest, plan_ingest, read_saved_split, save_plan
from adwarm.patterns.open_history import load_slots
from adwarm.settings import Settings
from adwarm.store import Context, accounts, aggregates
from adwarm.store.database import open_engine, read_transaction
from adwarm.store.objects import ObjectStore
from adwarm.store.open_files import OpenFiles
from adwarm.store.schema import upgrade

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
EVER = (START - timedelta(days=300), START + timedelta(days=300))
Entry = tuple[datetime, str]
"""Time and request id; an empty id is none."""


@cache
def _empty_database() -> Path:
    """Return a database with the schema, to copy: making one takes most of the time of a small test."""
    path = Path(tempfile.mkdtemp()) / "empty.db"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    engine.dispose()
    return path


class Pipeline:
    """A log of the user's and an open log, with the store that is learned from them."""

    def __init__(self, root: Path, engine: Engine | None = None, **log: Any) -> None:
        root.mkdir(parents=True)
        self.log, self.has_log, self.rotated = root / "log", False, 0
        self.files = OpenFiles(str(root / "data"))
        self.objects = ObjectStore(str(root / "data"))
        if engine is None:
            shutil.copy(_empty_database(), root / "adwarm.db")
        self.engine = engine or open_engine(f"sqlite:///{root}/adwarm.db")
        self.settings = log

    def context(self) -> Context:
        log = {**self.settings, "url": str(self.log)} if self.has_log else self.settings
        given = {"access_log": log, "home": self.log.parent}
        return Context(self.engine, self.objects, Settings.model_validate(given))

    def user(self, entries: Iterable[Entry | datetime], name: str = "a.jsonl", **more: object) -> None:
        """Append to the user's log."""
        self.has_log = True
        self.log.mkdir(exist_ok=True)
        with (self.log / name).open("ab") as file:
            for entry in entries:
                at, request_id = entry if isinstance(entry, tuple) else (entry, "")
                line = {"ts": at, "account_id": "act_1", "date_range": "today", "request_id": request_id or None}
                file.write(orjson.dumps({**line, **more}) + b"\n")

    def own(self, entries: Iterable[Entry | datetime], **more: object) -> None:
        """Rotate opens of the open log into a file a day."""
        by_day: dict[date, list[dict[str, Any]]] = {}
        for entry in entries:
            at, request_id = entry if isinstance(entry, tuple) else (entry, "")
            row = {"ts": at, "account_id": "act_1", "date_range": "today", "report": "default", "actor": "human"}
            row |= {"status": "hit", "hit": True, "latency_ms": 1.0, "bytes": 10, "request_id": request_id or None}
            by_day.setdefault(at.date(), []).append({**row, **more})
        for day, rows in by_day.items():
            self.rotated += 1
            self.files.put(day, f"host_1_{self.rotated}", gzip.compress(msgspec.json.Encoder().encode_lines(rows)))

    def ingest(self, now: datetime, window: tuple[datetime, datetime] | None = None) -> IngestResult:
        return ingest(self.context(), now, window=window)

    def distributed(self, now: datetime) -> IngestResult:
        """Read as mapped tasks do."""
        planned = plan_ingest(self.context(), now)
        plan = save_plan(self.objects, planned)
        results = [read_saved_split(self.context(), plan, number) for number in reversed(range(len(planned.splits)))]
        return commit_saved_plan(self.context(), plan, results[::-1])

    def slots(self) -> list[dict[str, Any]]:
        return load_slots(self.context(), *EVER).to_dict("records")

    def opens(self) -> int:
        return sum(row["opens"] for row in self.slots())

    def watermark(self) -> datetime | None:
        with read_transaction(self.engine) as connection:
            return aggregates.get_watermark(connection)


@pytest.fixture
def pipeline(tmp_path: Path, engine: Engine) -> Pipeline:
    """Both logs with a store on each database."""
    return Pipeline(tmp_path / "pipeline", engine)


@pytest.fixture
def small(tmp_path: Path) -> Pipeline:
    """The same on SQLite, where the dialect does not matter."""
    return Pipeline(tmp_path / "small")


def test_without_any_log_a_run_says_what_to_do(small: Pipeline) -> None:
    """Neither a log of the user's nor an open: the message names both ways."""
    with pytest.raises(BadRequest, match=r"ADWARM_ACCESS_LOG__URL.*adwarm serve"):
        small.ingest(START)


def test_the_open_log_is_read_without_configuration(pipeline: Pipeline) -> None:
    """Human and embedded opens of configured reports count; what is rotated later is read by a later run."""
    pipeline.own([START, START + SECOND])
    pipeline.own([START], actor="embedded", date_range="last_7d")
    pipeline.own([START], actor="api")
    pipeline.own([START], report="removed")
    report = pipeline.ingest(START + HOUR)
    assert (report.events, report.opens, report.hours, report.keys) == (4, 3, 1, 2)
    assert [(row["date_range"], row["opens"]) for row in pipeline.slots()] == [("last_7d", 1), ("today", 2)]
    pipeline.own([START + HOUR / 2])
    assert pipeline.ingest(START + 2 * HOUR).since is not None
    assert pipeline.opens() == 4


def test_an_unchanged_open_log_only_moves_the_watermark(small: Pipeline) -> None:
    """Nothing is read and no hour is replaced."""
    small.own([START])
    small.ingest(START + HOUR)
    report = small.ingest(START + 3 * HOUR)
    assert (report.events, report.since) == (0, None)
    assert small.watermark() == START + 3 * HOUR
    assert small.opens() == 1


def test_a_week_without_opens_removes_no_history(small: Pipeline) -> None:
    """When only new days are read, the hours before them stay, also when the first open comes days later."""
    small.own([START])
    small.ingest(START + HOUR)
    for days in range(1, 9):
        small.ingest(START + timedelta(days=days))
    small.own([START + timedelta(days=8, hours=1)])
    report = small.ingest(START + timedelta(days=8, hours=2))
    assert report.events == 1
    assert small.opens() == 2
    with read_transaction(small.engine) as connection:
        assert len(aggregates.list_log_files(connection)) == 1, "rows of old days are deleted"


@pytest.mark.parametrize("ids", [("", ""), ("a", "a"), ("a", ""), ("", "b")])
def test_an_open_in_both_logs_counts_once(pipeline: Pipeline, ids: tuple[str, str]) -> None:
    """By request id where both logs carry it, else by key and time."""
    pipeline.user([(START + SECOND, ids[0]), (START + HOUR, "")])
    pipeline.own([(START, ids[1]), (START + 2 * HOUR, "")])
    report = pipeline.ingest(START + 3 * HOUR)
    assert (report.opens, report.duplicates) == (3, 1)
    assert "1 open found in both logs" in str(report)
    assert [row["first_ts"].to_pydatetime() for row in pipeline.slots()] == [START, START + HOUR, START + 2 * HOUR]


def test_opens_of_one_log_never_become_one(small: Pipeline) -> None:
    """Two opens a second apart in one log are two, whatever the other log holds."""
    small.user([START, START + SECOND, START + SECOND])
    small.own([START])
    small.ingest(START + HOUR)
    assert small.opens() == 3


def test_the_zone_of_the_users_log_is_kept(small: Pipeline) -> None:
    """An open in both logs has the time of the one and the reader zone of the other."""
    small.user([START + SECOND], time_zone="Asia/Tokyo")
    small.own([START])
    small.ingest(START + HOUR)
    (row,) = small.slots()
    assert (row["opens"], row["time_zone"], row["first_ts"].to_pydatetime()) == (1, "Asia/Tokyo", START)


def test_a_poll_that_the_open_log_knows_is_no_open_of_the_user(small: Pipeline) -> None:
    """With the request's id, the class in the open log outranks the user agent's."""
    small.user([(START, "a"), (START + SECOND, "b")])
    small.own([(START, "a")], actor="api")
    small.ingest(START + HOUR)
    assert small.opens() == 1


def test_an_answer_that_was_waited_for_is_one_open(small: Pipeline) -> None:
    """A miss and the request that came back for its answer count once, in both logs, also over midnight."""
    midnight = datetime(2026, 3, 3, tzinfo=UTC)
    small.user([(midnight - 20 * SECOND, "a" * 32), (midnight + 10 * SECOND, "b" * 32)])
    small.own([(midnight - 20 * SECOND, "17"), (midnight + 10 * SECOND, "17")])
    small.ingest(midnight + HOUR)
    assert [row["first_ts"].to_pydatetime() for row in small.slots()] == [midnight - 20 * SECOND]


def test_a_file_that_is_rotated_late_still_matches(small: Pipeline) -> None:
    """Hours of the user's log that were counted already are recomputed when the open log's file arrives."""
    small.user([START, START + HOUR])
    small.ingest(START + 2 * HOUR)
    small.own([START + SECOND, START + HOUR + SECOND, START + HOUR + 20 * SECOND])
    small.ingest(START + 3 * HOUR)
    assert small.opens() == 3


def test_the_edge_of_a_window_matches_what_lies_before_it(small: Pipeline) -> None:
    """An open at the end of the hour before a window is not counted again by its twin within it."""
    edge = START + HOUR
    small.user([edge + SECOND])
    small.own([edge - SECOND])
    small.ingest(START + 2 * HOUR)
    small.ingest(START + 2 * HOUR, window=(edge, edge + HOUR))
    assert [row["first_ts"].to_pydatetime() for row in small.slots()] == [edge - SECOND]


def test_each_account_chooses_its_log(pipeline: Pipeline) -> None:
    """The choice of an account outranks the setting."""
    for account in ("act_1", "act_2", "act_3"):
        pipeline.user([START], account_id=account, date_range="last_7d")
        pipeline.own([START], account_id=account, date_range="last_30d")
    accounts.save(pipeline.engine, [Account("act_1"), Account("act_2")], START)
    accounts.set_by_user(pipeline.engine, "act_1", {"opens_from": "user"})
    accounts.set_by_user(pipeline.engine, "act_2", {"opens_from": "adwarm"})
    pipeline.ingest(START + HOUR)
    found = {(row["account_id"], row["date_range"]) for row in pipeline.slots()}
    assert found == {("act_1", "last_7d"), ("act_2", "last_30d"), ("act_3", "last_7d"), ("act_3", "last_30d")}


@pytest.mark.parametrize("in_splits", [False, True], ids=["whole", "split"])
def test_the_user_log_adds_its_accounts_at_once(pipeline: Pipeline, in_splits: bool) -> None:
    """What people open in the user's log exists as soon as it is read, in its zone; the open log adds no account."""
    pipeline.user([START], account_id="act_1", time_zone="Asia/Tokyo")
    pipeline.user([START], account_id="act_2")
    pipeline.user([START], account_id="act_3", actor="api")
    pipeline.own([START], account_id="act_2")
    pipeline.own([START], account_id="act_4")
    (pipeline.distributed if in_splits else pipeline.ingest)(START + HOUR)
    found = {name: (item.data_zone, item.reader_zone) for name, item in accounts.get_many(pipeline.engine).items()}
    assert found == {"act_1": ("Asia/Tokyo", "Asia/Tokyo"), "act_2": ("UTC", "UTC")}


@pytest.mark.parametrize(("choice", "ranges"), [("user", ["last_7d"]), ("adwarm", ["last_30d"])])
def test_the_setting_chooses_for_all(tmp_path: Path, choice: str, ranges: list[str]) -> None:
    """With one log chosen, the other is not read."""
    pipeline = Pipeline(tmp_path / "p", opens_from=choice)
    pipeline.user([START], date_range="last_7d")
    pipeline.own([START], date_range="last_30d")
    pipeline.ingest(START + HOUR)
    assert [row["date_range"] for row in pipeline.slots()] == ranges


def test_damage_costs_what_is_damaged(small: Pipeline) -> None:
    """A file that is no gzip, is cut, goes on after its end or fails its checksum is left out; so is a cut line."""
    small.own([START])
    folder = Path(small.files.url) / "2026-03-02"
    (whole,) = folder.iterdir()
    packed = whole.read_bytes()
    line = gzip.decompress(packed)
    for number, data in enumerate((b"PAR1 no", packed[:-9], packed + b"more", packed[:-8] + bytes(8))):
        (folder / f"broken{number}.jsonl.gz").write_bytes(data)
    (folder / "holes.jsonl.gz").write_bytes(gzip.compress(line[:40] + bytes(9) + b"\n" + line))
    assert small.ingest(START + HOUR).opens == 2


_IDS = st.sampled_from(["", "", "a", "b", "c"])
Drawn = tuple[int, str]
_ENTRIES = st.lists(st.tuples(st.integers(-40, 40), _IDS), max_size=12)


def _entries(drawn: list[Drawn]) -> list[Entry]:
    """Return entries around a midnight."""
    return [(datetime(2026, 3, 3, tzinfo=UTC) + 2 * seconds * SECOND, name) for seconds, name in drawn]


@pytest.mark.slow
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=_ENTRIES, own=_ENTRIES, data=st.data())
def test_neither_files_nor_splits_nor_runs_matter(
    tmp_path_factory: pytest.TempPathFactory,
    user: list[tuple[int, str]],
    own: list[tuple[int, str]],
    data: st.DataObject,
) -> None:
    """One file or several, one reader or many, at once or as files arrive: the same slots, and no open counts twice."""
    root, now = tmp_path_factory.mktemp("order"), datetime(2026, 3, 3, 3, tzinfo=UTC)
    theirs, ours = _entries(user), _entries(own)
    whole = Pipeline(root / "whole")
    whole.user(theirs)
    whole.own(ours)
    whole.ingest(now)

    split = Pipeline(root / "split")
    for number, entry in enumerate(data.draw(st.permutations(theirs))):
        split.user([entry], name=f"{number % 3}.jsonl")
    split.user([], name="3.jsonl")
    for entry in data.draw(st.permutations(ours)):
        split.own([entry])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adwarm.patterns.ingest.plan.SPLIT_EVENTS", 1)
        if len(plan_ingest(split.context(), now).splits) > 1:
            split.distributed(now)
        else:
            split.ingest(now)

    steps = Pipeline(root / "steps")
    steps.user([])
    for at in range(-1, 4):
        moment = datetime(2026, 3, 3, tzinfo=UTC) + at * HOUR
        steps.user([entry for entry in theirs if moment - HOUR <= entry[0] < moment])
        steps.own([entry for entry in ours if moment - 2 * HOUR <= entry[0] < moment - HOUR])  # an hour late
        steps.ingest(moment)
    assert whole.slots() == steps.slots() == split.slots()
    names = [name for _, name in ours if name]
    repeats = len(names) - len(set(names))
    assert whole.opens() >= max(len(theirs), len(ours)) - repeats
    assert whole.opens() <= len(theirs) + len(ours)
