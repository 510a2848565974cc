"""Opens survive the process that recorded them, are rotated once, and never hold a reader back."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from adwarm.access_log import read_events
from adwarm.access_log.open_tables import read_open_files
from adwarm.model import Actor, ReportKey
from adwarm.serving import open_log
from adwarm.serving.open_log import MAX_FILE_BYTES, ROTATE_SECONDS, Open, OpenLog, publish_lines
from adwarm.settings import ServingSettings, Settings
from adwarm.store.open_files import OpenFiles

AT = datetime(2026, 3, 8, 7, 30, 15, 123456, tzinfo=UTC)
KEY = ReportKey("act_1", "last_7d")


def _open(number: int = 0, actor: Actor = Actor.HUMAN, at: datetime = AT) -> Open:
    return Open(at + timedelta(seconds=number), KEY, actor, "hit", 2.5, 1000, f"id{number}")


def _rows(settings: Settings) -> list[dict[str, object]]:
    files = OpenFiles(settings.data)
    listed = [file for found in files.list_files(files.list_days()).values() for file in found]
    rows = [row for table in read_open_files(files, listed) if not isinstance(table, str) for row in table.to_pylist()]
    return sorted(rows, key=lambda row: str(row["request_id"]))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a home of their own."""
    return Settings(home=tmp_path / "home")


def test_what_is_recorded_is_read_back_as_an_access_log(settings: Settings) -> None:
    """Each field survives; the rotated files are a log that the general reader understands."""
    log = OpenLog(settings)
    log.record(_open(actor=Actor.EMBEDDED))
    log.close()
    assert _rows(settings) == [
        {
            "ts": AT,
            "account_id": "act_1",
            "date_range": "last_7d",
            "report": "default",
            "actor": "embedded",
            "status": "hit",
            "hit": True,
            "latency_ms": 2.5,
            "bytes": 1000,
            "request_id": "id0",
        }
    ]
    (event,) = [row for batch in read_events(OpenFiles(settings.data).url, settings) for row in batch.to_pylist()]
    assert (event["ts"], event["actor"]) == (AT, "embedded")
    assert not log.path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="a thread has no priority of its own")
def test_the_thread_gives_way_to_readers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does takes little from the loop on the same core; the rest of the process stays as it is."""
    log, seen = OpenLog(settings), list[int]()

    def rotate() -> None:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    monkeypatch.setattr(log, "rotate", rotate)
    log.start()
    log.close()
    assert seen == [min(19, before + 5), before]


def test_object_storage_gets_the_same_files(tmp_path: Path) -> None:
    """Any fsspec URL can be the data folder."""
    settings = Settings(home=tmp_path, data_url=f"memory://{tmp_path.name}")
    log = OpenLog(settings)
    log.record(_open())
    log.close()
    assert [row["request_id"] for row in _rows(settings)] == ["id0"]
    assert OpenFiles(settings.data).delete_day(AT.date()) == 1
    assert _rows(settings) == []


def test_opens_of_two_days_lie_in_two_folders(settings: Settings) -> None:
    """A file that is open over midnight is divided by the UTC day of its opens."""
    log = OpenLog(settings)
    for at in (AT, AT + timedelta(days=1), AT):
        log.record(_open(at=at))
    log.close()
    files = OpenFiles(settings.data)
    days = files.list_days()
    assert days == [date(2026, 3, 8), date(2026, 3, 9)]
    assert files.list_days(date(2026, 3, 9)) == files.list_days(date(2026, 3, 9), date(2026, 3, 9)) == days[1:]
    assert {day: len(found) for day, found in files.list_files(days).items()} == dict.fromkeys(days, 1)


def test_a_large_file_is_rotated_before_its_time(settings: Settings) -> None:
    """A busy hour moves in files of bounded size, of which no open is lost."""
    now = 0.0
    log = OpenLog(settings, lambda: now)
    total = 0
    while not log.is_rotation_due():
        for number in reversed(range(5_000)):
            log.record(_open(total + number))
        total += 5_000
        log.append()
    assert log.path.stat().st_size < MAX_FILE_BYTES * 1.5
    log.rotate()
    assert not log.is_rotation_due()
    files = OpenFiles(settings.data)
    (file,) = files.list_files(files.list_days())[AT.date()]
    (table,) = read_open_files(files, [file])
    assert not isinstance(table, str)
    assert sorted(table["ts"].to_pylist()) == [AT + timedelta(seconds=number) for number in range(total)]


def test_adwarms_own_reads_are_no_opens(settings: Settings) -> None:
    """Canaries and warms are not logged, and nothing is when the log is switched off."""
    log = OpenLog(settings)
    log.record(_open(actor=Actor.WARMER))
    log.close()
    off = OpenLog(Settings(home=settings.home, serving=ServingSettings(log_opens=False)))
    off.start()
    off.record(_open())
    off.close()
    assert _rows(settings) == []


def test_a_full_buffer_drops_and_counts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording neither blocks nor fails; what was dropped is logged once a minute."""
    warnings: list[str] = []
    monkeypatch.setattr(open_log.log, "warning", lambda text, *values: warnings.append(text % values))
    now = [0.0]
    log = OpenLog(settings, monotonic=lambda: now[0], limit=2)
    for _ in range(2):
        for number in range(5):
            log.record(_open(number))
        log.append()
    assert log.dropped == 6
    assert warnings == ["3 opens were not logged: the disk does not keep up"]
    now[0] = 60.0
    log.append()
    assert warnings[1:] == ["3 opens were not logged: the disk does not keep up"]
    log.close()
    assert [row["request_id"] for row in _rows(settings)] == ["id0", "id0", "id1", "id1"]


def test_a_value_that_cannot_be_written_costs_one_open(settings: Settings) -> None:
    """A broken open does not stop those after it."""
    log = OpenLog(settings)
    log.record(_open(1))
    log.record(Open(AT, KEY, Actor.HUMAN, "hit", "slow", 1, None))  # type: ignore[arg-type]
    log.record(_open(2))
    log.close()
    assert [row["request_id"] for row in _rows(settings)] == ["id1", "id2"]


def test_a_full_disk_loses_and_repeats_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a failed write took is written again as a whole once there is space."""
    log = OpenLog(settings)
    log.record(_open(1))
    log.append()
    write, calls = os.write, [0]

    def fail_in_the_middle(handle: int, data: bytes) -> int:
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(28, "No space left on device")
        return write(handle, data[:7])

    log.record(_open(2))
    monkeypatch.setattr(os, "write", fail_in_the_middle)
    log.append()
    monkeypatch.undo()
    log.close()
    assert [row["request_id"] for row in _rows(settings)] == ["id1", "id2"]


def test_a_data_folder_that_is_away_keeps_the_opens(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files wait in `home` until the data folder answers, and are then published once; no new open is needed."""
    now = [0.0]
    log = OpenLog(settings, monotonic=lambda: now[0])
    assert not log.is_rotation_due()
    log.record(_open(1))
    log.append()
    assert not log.is_rotation_due()
    now[0] = ROTATE_SECONDS
    assert log.is_rotation_due()

    def fail(*_: object) -> None:
        raise ConnectionError("no route to the bucket")

    with monkeypatch.context() as patched:
        patched.setattr(OpenFiles, "put", fail)
        log.rotate()
        assert not log.is_rotation_due()
        now[0] *= 2
        assert log.is_rotation_due()
        log.record(_open(2))
        log.append()
        log.rotate()
    assert _rows(settings) == []
    log.close()
    assert sorted(str(row["request_id"]) for row in _rows(settings)) == ["id1", "id2"]


def test_publishing_twice_publishes_once(settings: Settings, tmp_path: Path) -> None:
    """A process that dies between publishing and deleting repeats nothing, and a cut line is left out."""
    log = OpenLog(settings)
    for number in range(3):
        log.record(_open(number))
    log.append()
    kept = tmp_path / "kept.1.jsonl"
    kept.write_bytes(log.path.read_bytes() + b'{"ts":"2026-03-08T07:30')
    files = OpenFiles(settings.data)
    for _ in range(2):
        publish_lines(files, kept, lambda _: None)
    assert [row["request_id"] for row in _rows(settings)] == ["id0", "id1", "id2"]


def test_two_processes_rotate_what_a_third_left_behind_once(settings: Settings) -> None:
    """Leftovers are published by one of them; a file that a live process writes is left alone."""
    dead, alive = OpenLog(settings), OpenLog(settings)
    for number, log in enumerate((dead, alive)):
        log.record(_open(number))
        log.append()
    handle = dead._handle
    assert handle is not None
    os.close(handle)  # as the kernel does when a process ends
    others = [OpenLog(settings) for _ in range(2)]
    threads = [threading.Thread(target=other.rotate) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["request_id"] for row in _rows(settings)] == ["id0"]
    assert alive.path.exists()
    assert not dead.path.exists()
    alive.close()
    assert [row["request_id"] for row in _rows(settings)] == ["id0", "id1"]


_RECORDER = """
import itertools, sys, time
from datetime import UTC, datetime
from adwarm.model import Actor, ReportKey
from adwarm.serving.open_log import Open, OpenLog
from adwarm.settings import Settings

log = OpenLog(Settings(home=sys.argv[1]))
log.start()
for number in itertools.count():
    log.record(Open(datetime.now(UTC), ReportKey("act_1", "today"), Actor.HUMAN, "hit", 1.0, 10, str(number)))
    print(number, time.monotonic(), flush=True)
    time.sleep(0.005)
"""


@pytest.fixture
def recorder(settings: Settings) -> Iterator["subprocess.Popen[str]"]:
    """A process that records opens until it is killed, and prints the number and time of each."""
    process = subprocess.Popen([sys.executable, "-c", _RECORDER, str(settings.home)], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_kill_9_loses_at_most_the_last_second(settings: Settings, recorder: "subprocess.Popen[str]") -> None:
    """Every open that is older than a second when the process is killed is there after the next start, once."""
    assert recorder.stdout is not None
    lines = [recorder.stdout.readline() for _ in range(500)]
    recorder.send_signal(signal.SIGKILL)
    lines += recorder.stdout.readlines()
    recorder.wait()
    printed = {int(number): float(at) for number, _, at in (line.partition(" ") for line in lines if line[-1:] == "\n")}
    killed_at = max(printed.values())
    assert _rows(settings) == []
    OpenLog(settings).rotate()
    found = [int(str(row["request_id"])) for row in _rows(settings)]
    assert sorted(found) == list(range(len(found)))
    lost = [at for number, at in printed.items() if number not in set(found)]
    assert len(found) > 100
    assert all(killed_at - at <= 1.0 for at in lost), "an open older than a second was lost"
