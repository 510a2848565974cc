"""Runs the checks of `adwarm doctor`, each with a time limit."""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.redaction import redact

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
