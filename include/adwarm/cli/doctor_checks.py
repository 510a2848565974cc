"""Runs the checks of `adwarm doctor`, each with a time limit, and has those of disks, database and recovery.

The check of `adwarm doctor` about recovery: whether healers can be loaded, and whether the fallback chain has holes.

Both would otherwise show only when something fails.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, StorageError
from adwarm.foundation.redaction import redact
from adwarm.foundation.storage import (
    DATA_SETTING,
    DATABASE_SETTING,
    DiskSpace,
    describe_free_space,
    describe_storage_problem,
    measure_space,
)
from adwarm.foundation.wording import format_count

if TYPE_CHECKING:
    from adwarm.runtime import Runtime
    from adwarm.settings import Settings

CHECK_SECONDS = 30.0
"""How long one check may take. A platform that does not respond is given up earlier, by the timeouts of its calls."""
_COMMAND = re.compile(r"`((?:adwarm|airflow) [^`]+)`")


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found.

    Attributes:
        warning: whether it is worth a look, though the check passed.
        checked: whether the check could be made; one that could not does not pass.
    """

    detail: str
    warning: bool = False
    checked: bool = True


@dataclass
class CheckResult:
    """Result of one check.

    Attributes:
        detail: what was found, or what to fix.
        warning: whether a check that passed is worth a look.
        checked: whether the check could be made.
    """

    name: str
    ok: bool
    detail: str
    warning: bool = False
    checked: bool = True

    @property
    def mark(self) -> str:
        """The first column of the table."""
        if not self.checked:
            return "skip"
        return "FIX" if not self.ok else "note" if self.warning else "ok"

    @property
    def fix(self) -> str | None:
        """The command that the detail of a failed check or a note names; None when it names none."""
        command = _COMMAND.search(self.detail) if self.mark != "ok" else None
        return None if command is None else command[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {**vars(self), "fix": self.fix}


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        run: returns what it found. An `AdwarmError` is what to fix.
        needs_database: whether it is left out while the database cannot be reached.
        is_slow: whether it works for long, so that taking longer than the limit is a note and no failure.
    """

    name: str
    run: Callable[[], str | Finding]
    needs_database: bool = False
    is_slow: bool = False


@dataclass
class _Attempt:
    """A check that runs in a thread of its own, which ends with the process at the latest."""

    check: Check
    result: CheckResult | None = field(default=None, init=False)

    def run(self) -> None:
        name = self.check.name
        try:
            outcome = self.check.run()
        except AdwarmError as error:
            self.result = CheckResult(name, False, redact(str(error)))
        except Exception as error:  # the texts of other errors may hold anything
            self.result = CheckResult(name, False, f"{type(error).__name__}; check the setting behind it")
        else:
            finding = outcome if isinstance(outcome, Finding) else Finding(outcome)
            self.result = CheckResult(name, finding.checked, finding.detail, finding.warning, finding.checked)


def run_check(check: Check, seconds: float = CHECK_SECONDS) -> CheckResult:
    """Run a check for at most `seconds` and return its result; an error of the check is a failed result."""
    attempt = _Attempt(check)
    thread = threading.Thread(target=attempt.run, name=f"adwarm-check-{check.name}", daemon=True)
    thread.start()
    thread.join(seconds)
    if attempt.result is not None:
        return attempt.result
    if check.is_slow:
        return CheckResult(check.name, True, f"not ended within {seconds:.0f} s", warning=True)
    return CheckResult(check.name, False, f"no result within {seconds:.0f} s; what it reads does not respond")


def run_checks(checks: list[Check], *, has_database: bool, seconds: float = CHECK_SECONDS) -> list[CheckResult]:
    """Run checks one after the other; without a database, those that need it say so and are not run."""
    skipped = "not checked: it needs the database"
    return [
        run_check(check, seconds)
        if has_database or not check.needs_database
        else CheckResult(check.name, False, skipped, checked=False)
        for check in checks
    ]


FULL_BYTES = 100_000_000
"""With less free space, a disk counts as full: one batch may need more."""
NEARLY_FULL_BYTES = 1_000_000_000
"""With less free space, a disk is worth a note."""
_CHECK_SECONDS = 10.0
_TABLES_SHOWN = 3


def check_database(runtime: "Runtime") -> str:
    """Return what the database is; a SQLite file is searched for damage, for some seconds.

    Raises:
        StorageError: the file is damaged.
    """
    from adwarm.store.schema import get_current_revision, quick_check

    engine = runtime.engine
    state = f"{engine.dialect.name}, schema up to date ({get_current_revision(engine)})"
    if engine.dialect.name != "sqlite":
        return state
    result = quick_check(engine, _CHECK_SECONDS)
    if result.problem is not None:
        path, text = engine.url.database or "", f"the database file is damaged ({result.problem.splitlines()[-1]})"
        advice = "restore a backup; or move the file away, and run `adwarm db upgrade`"
        raise StorageError(describe_storage_problem(path, DATABASE_SETTING, text, advice))
    return f"{state}, " + ("no damage" if result.is_complete else f"no damage found in {_CHECK_SECONDS:.0f} s")


def check_schema(runtime: "Runtime") -> str:
    """Return that the tables are those that this version needs.

    Raises:
        Corrupt: they differ.
    """
    from adwarm.store.schema import find_differences, get_head_revision

    if differences := find_differences(runtime.engine):
        raise Corrupt(f"the tables differ from schema {get_head_revision()}: {'; '.join(differences)}")
    return "each table is as this version needs it"


def check_stored_days(runtime: "Runtime") -> str:
    """Return that the folder of the stored days is there, or that nothing is stored yet.

    Raises:
        StorageError: it is gone.
    """
    from adwarm.store.schema import require_objects

    require_objects(runtime.context)
    return "no folder yet, and no day is stored" if runtime.objects.is_lost else "their folder is there"


def check_rights(runtime: "Runtime") -> str:
    """Check that this user may write to every table, without changing one.

    Raises:
        StorageError: it may not; the message names the tables.
    """
    from sqlalchemy import text

    from adwarm.store.database import read_transaction, write_transaction
    from adwarm.store.tables import metadata

    if runtime.engine.dialect.name == "sqlite":
        with write_transaction(runtime.engine):  # takes the write lock, which a read-only file refuses
            return "the file can be written"
    query = text("SELECT has_table_privilege(:name, 'INSERT, UPDATE, DELETE') AND has_table_privilege(:name, 'SELECT')")
    with read_transaction(runtime.engine) as connection:
        if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":
            raise StorageError("PostgreSQL is read-only (a standby); connect to the primary")
        names = [name for name in sorted(metadata.tables) if not connection.execute(query, {"name": name}).scalar_one()]
        role = connection.execute(text("SELECT current_user")).scalar_one()
    if names:
        tables = f"{', '.join(names[:_TABLES_SHOWN])}{' and others' if len(names) > _TABLES_SHOWN else ''}"
        raise StorageError(
            f"the role {role} may not read and write {tables}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN "
            f"SCHEMA public TO {role}"
        )
    return f"the role {role} may read and write every table"


def list_disks(runtime: "Runtime") -> dict[str, tuple[Path, str]]:
    """Return the folders that adwarm writes to, each with its setting, by name; one on the same disk is left out."""
    from sqlalchemy import make_url

    settings = runtime.settings
    folders: dict[str, tuple[Path, str]] = {}
    if "://" not in settings.data:
        folders["disk of the objects"] = Path(settings.data), DATA_SETTING
    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        folders["disk of the database"] = Path(url.database).absolute().parent, DATABASE_SETTING
    return folders


def check_disk(path: Path, setting: str) -> tuple[str, bool]:
    """Return how much space is free, and whether that is worth a note.

    Raises:
        StorageError: the disk is full or read-only, or does not say how much is free.
    """
    space = measure_space(path)
    if space is None:
        raise StorageError(f"{setting}: {path}: how much space is free cannot be read; check the disk and the rights")
    if problem := _find_problem(space):
        raise StorageError(describe_storage_problem(path, setting, *problem))
    is_low = space.free < NEARLY_FULL_BYTES
    return f"{path}: {describe_free_space(path)}" + ("; free some soon" if is_low else ""), is_low


def _find_problem(space: DiskSpace) -> tuple[str, str] | None:
    if space.is_read_only:
        return "the file system is read-only", "mount it for writing"
    if space.free < FULL_BYTES:
        return f"the disk is full: less than {FULL_BYTES / 1e6:.0f} MB are free", "free some space, or move it"
    if not space.has_names:
        return "the disk has no room for further files", "delete some files, or move it"
    return None


def check_recovery(settings: "Settings") -> str:
    """Return what recovery consists of.

    Raises:
        BadRequest: a healer cannot be loaded, or a step of the chain names an unknown connection; all are named.
    """
    problems = [*_list_healer_problems(settings), *_list_chain_problems(settings)]
    if problems:
        raise BadRequest("; ".join(problems))
    recovery = settings.recovery
    steps = ", ".join(step.kind for step in recovery.fallbacks) or "none"
    healers = format_count(len(recovery.healers), "healer") if recovery.heal else "no healing (ADWARM_RECOVERY__HEAL)"
    return f"{healers}; the fallback chain is {steps}"


def _list_healer_problems(settings: "Settings") -> list[str]:
    from adwarm.prefetch.healers import list_token_hooks
    from adwarm.recovery.healing import load_function

    problems = []
    healers = settings.recovery.healers if settings.recovery.heal else ()
    for healer in healers:
        try:
            if healer.call is not None:
                load_function(healer.call)
            elif healer.action == "token_refresh":
                list_token_hooks()
        except AdwarmError as error:
            problems.append(str(error))
    return problems


def _list_chain_problems(settings: "Settings") -> list[str]:
    connections = ", ".join(settings.connections) or "there is none"
    return [
        f"the step `source` of ADWARM_RECOVERY__FALLBACKS names the connection {step.connection}, which is not in "
        f"ADWARM_CONNECTIONS ({connections})"
        for step in settings.recovery.fallbacks
        if step.connection is not None and step.connection not in settings.connections
    ]
