"""Tests of calls: accounts, typed errors and recovery, secrets, threads, forks and closing."""

import json
import logging
import os
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, Final

from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    Corrupt,
    Denied,
    NotFound,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
)
from adwarm.foundation.local_time import zone
from adwarm.model import Account, Row
from adwarm.sources.protocol import Increment, InsightsSource, iter_accounts
from adwarm.testing.hooks import (
    ContractBroken,
    SourceHooks,
    broken,
    check,
    check_same_rows,
    expect_error,
)
from adwarm.testing.upstream import UpstreamFailure
from adwarm.testing.value_tests import VALUES

_UNKNOWN_ACCOUNT = "act_909090909"
_ERRORS: Final[dict[UpstreamFailure, tuple[type[AdwarmError], ...]]] = {
    UpstreamFailure.UNREACHABLE: (Transient,),
    UpstreamFailure.HANGS: (Transient,),
    UpstreamFailure.THROTTLED: (Throttled,),
    UpstreamFailure.TOO_MUCH_DATA: (TooMuchData,),
    UpstreamFailure.DENIED: (Denied,),
    UpstreamFailure.TOKEN_DEAD: (TokenDead,),
    UpstreamFailure.ABSENT: (BadRequest, NotFound),
    UpstreamFailure.DAMAGED: (Corrupt, BadRequest, Transient),
}
_OF_EVERY_CALL = frozenset({
    UpstreamFailure.UNREACHABLE,
    UpstreamFailure.TOKEN_DEAD,
    UpstreamFailure.ABSENT,
})


class CallTests(SourceHooks):
    """Tests of calls."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make a test of every value, and of every way in which the upstream can fail."""
        if "failure" in metafunc.fixturenames:
            metafunc.parametrize("failure", sorted(self.failures or ()), ids=str)
        if "value" in metafunc.fixturenames:
            metafunc.parametrize("value", VALUES if self.can_replace_values else (), ids=str)

    def test_accounts_are_listed(self) -> None:
        """Every account is listed once, with zone, currency and connection, the same alone and page by page."""
        data, source = self.data(), self.make_source()
        listed = list(iter_accounts(source))
        check(len({item.id for item in listed}) == len(listed), "list_account_page has an account twice")
        expected = {item.id for item in data.accounts}
        ids = {item.id for item in listed}
        check(ids == expected, f"list_account_page returned {sorted(ids)}; the upstream has {sorted(expected)}")
        check(listed == list(iter_accounts(self.make_source())), "another source lists other accounts")
        for account in listed:
            self._check_account(account, source)
            alone = source.get_account(account.id)
            check(alone == account, f"get_account returned {alone}, list_account_page {account}")

    def test_accounts_come_in_pages(self) -> None:
        """Small pages of accounts hold every account once."""
        source = self.make_source()
        ids, cursor, seen = [], None, set[str]()
        while True:
            page = source.list_account_page(cursor, 1)
            ids += [account.id for account in page.accounts]
            cursor = page.next_cursor
            if cursor is None:
                break
            check(cursor not in seen, "the pages of accounts form a loop; the last one has no next_cursor")
            seen.add(cursor)
        expected = sorted(account.id for account in self.data().accounts)
        check(sorted(ids) == expected, f"pages of one account hold {sorted(ids)}; the upstream has {expected}")

    def test_an_unknown_account_is_an_error(self) -> None:
        """An account that the upstream does not have is a permanent error, and not an account without rows."""
        source = self.make_source()
        kinds = (BadRequest, NotFound, Denied)
        expect_error(kinds, lambda: source.get_account(_UNKNOWN_ACCOUNT), "get_account of an unknown account")

    def test_failures_are_declared(self) -> None:
        """The class says how its upstream can fail."""
        check(
            self.failures is not None,
            "set failures to what fail_upstream can do: "
            + ", ".join(f"UpstreamFailure.{item.name}" for item in UpstreamFailure)
            + "; frozenset() for an upstream that cannot fail",
        )

    def test_failures_are_typed(self, failure: UpstreamFailure) -> None:
        """A failure raises the error that says how to react, in time, and the source works again afterwards."""
        is_hanging = failure is UpstreamFailure.HANGS
        data, source = self.data(), self.make_source_with_time_limit() if is_hanging else self.make_source()
        account = data.main_account
        others: dict[str, Callable[[], Any]] = {
            "get_account": lambda: source.get_account(account.id),
            "list_account_page": lambda: source.list_account_page(None),
        }
        with self.fail_upstream(failure, account.id):
            what = f"a request of rows, when the upstream fails ({failure}),"
            if failure is UpstreamFailure.ABSENT:
                _raises_typed_error(lambda: self.read(source, data.window), what)  # the first call may not know yet
            error = self._error_in_time(failure, lambda: self.read(source, data.window), what)
            self._check_error(error, source, account)
            for name, call in () if is_hanging else others.items():
                what = f"{name}, when the upstream fails ({failure}),"
                if failure in _OF_EVERY_CALL:
                    self._error_in_time(failure, call, what)
                else:
                    _raises_typed_error(call, what)
            if failure is UpstreamFailure.DENIED:
                other = next(item for item in data.accounts if item.id != account.id)
                rows = self.read(source, data.window, account=other)
                check_same_rows(rows, data.rows_of(other.id), data.level, f"{other.id} beside a failing account")
        rows = self.read(source, data.window)
        check_same_rows(rows, data.rows_of(account.id), data.level, f"the source after a failure ({failure})")

    def test_no_secret_is_shown(self) -> None:
        """No secret is in a representation, an error with its causes, or a log record, whatever fails."""
        with _recorded_logs() as records:
            source, data = self.make_source(), self.data()
            texts = [repr(source), str(source), repr(source.scopes(data.main_account.id)), source.credential]
            texts += [repr(unit) for unit in source.plan(data.main_account, [data.window], Increment.DAY, self.spec())]
            self.read(source, data.window)
            texts.append(_error_text(lambda: source.get_account(_UNKNOWN_ACCOUNT)))
            for failure in sorted(self.failures or ()):
                if failure is not UpstreamFailure.HANGS:
                    with self.fail_upstream(failure, data.main_account.id):
                        texts.append(_error_text(lambda: self.read(source, data.window)))
        for secret in self.secrets:
            shown = [text for text in texts if secret in text]
            check(not shown, f"a secret is shown by {_hide(shown, secret)}")
            logged = [text for text in records if secret in text]
            check(not logged, f"a secret is in the log: {_hide(logged, secret)}")

    def test_two_threads_with_a_source_each(self) -> None:
        """Two threads, each with its own source, read the same rows at the same time; a third one goes on with both."""
        data = self.data()
        start = threading.Barrier(2)
        sources: list[InsightsSource] = []
        results: list[list[Row] | Exception] = []

        def work() -> None:
            try:
                source = self.make_source()
                sources.append(source)
                start.wait(self.time_limit_seconds)
                for _ in range(3):
                    results.append(self.read(source, data.window))
            except Exception as error:  # reported below, by the thread of the test
                results.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.time_limit_seconds)
        check(not any(thread.is_alive() for thread in threads), "two threads wait for each other")
        for source in sources:
            try:
                results.append(self.read(source, data.window))
            except Exception as error:  # reported below
                results.append(error)
            source.close()
        for result in results:
            if isinstance(result, Exception):
                broken(f"a thread failed: {type(result).__name__}: {result}")
            check_same_rows(result, data.rows_of(data.main_account.id), data.level, "a read beside another thread")

    def test_a_forked_process_reads(self) -> None:
        """After a fork, as Airflow's workers do, the child makes a source and reads, and the parent reads on."""
        if not hasattr(os, "fork"):
            return
        data, source = self.data(), self.make_source()
        rows = self.read(source, data.window)
        in_child = _run_in_child(lambda: self.read(self.make_source(), data.window), self.time_limit_seconds)
        check(in_child == rows, f"the child of a fork read other rows: {str(in_child)[:300]}")
        check(self.read(source, data.window) == rows, "the parent of a fork reads other rows than before")

    def test_closing_is_final_for_one_source_only(self) -> None:
        """A source can be closed twice, and other sources over the same upstream work on."""
        data, first, second = self.data(), self.make_source(), self.make_source()
        self.read(first, data.window)
        first.close()
        first.close()
        rows = self.read(second, data.window)
        check_same_rows(rows, data.rows_of(data.main_account.id), data.level, "a source beside a closed one")

    def _check_account(self, account: Account, source: InsightsSource) -> None:
        expected = next(item for item in self.data().accounts if item.id == account.id)
        check(
            (account.data_zone, account.currency) == (expected.data_zone, expected.currency),
            f"{account.id} has {account.data_zone} and {account.currency}, the upstream "
            f"{expected.data_zone} and {expected.currency}",
        )
        check(
            account.connection == source.connection,
            f"{account.id} has connection {account.connection!r}; it is the source's, {source.connection!r}",
        )
        zone(account.data_zone)

    def _error_in_time(self, failure: UpstreamFailure, call: Callable[[], Any], what: str) -> AdwarmError:
        """Return the error of a call, which must come within the time limit."""
        caught: list[AdwarmError | Exception] = []

        def work() -> None:
            try:
                caught.append(expect_error(_ERRORS[failure], call, what))
            except Exception as error:  # raised below, by the thread of the test
                caught.append(error)

        if failure is not UpstreamFailure.HANGS:
            return expect_error(_ERRORS[failure], call, what)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(self.time_limit_seconds)
        check(caught, f"{what} did not end within {self.time_limit_seconds:g} s; give the source a time limit")
        if not isinstance(caught[0], AdwarmError):
            raise caught[0]
        return caught[0]

    def _check_error(self, error: AdwarmError, source: InsightsSource, account: Account) -> None:
        check(not error.own_refusal, f"a source raised {type(error).__name__}, which is adwarm's own refusal")
        if isinstance(error, Throttled):
            scopes = [str(scope) for scope in source.scopes(account.id)]
            check(error.scope in scopes, f"Throttled names the scope {error.scope!r}; the call has {scopes}")
        elif isinstance(error, Denied):
            check(error.account_id == account.id, f"Denied names {error.account_id!r}, not {account.id}")
        elif isinstance(error, TooMuchData):
            data = self.data()
            [unit] = source.plan(account, [data.window], Increment.DAY, self.spec())
            check(
                source.split(unit) or error.smaller_page or error.in_background,
                "TooMuchData of a request that can be neither split, nor paged, nor made in the background",
            )


def _raises_typed_error(call: Callable[[], Any], what: str) -> None:
    """Make a call that may succeed or raise an error of adwarm, and no other."""
    try:
        call()
    except AdwarmError:
        return
    except Exception as error:
        raise ContractBroken(f"{what} raised {type(error).__name__} ({error}), which is not an AdwarmError") from error


def _error_text(call: Callable[[], Any]) -> str:
    """Return the error of a call with its causes, as a traceback prints it; empty when there is none."""
    try:
        call()
    except Exception as error:  # its text is what is tested
        return "".join(traceback.format_exception(error)) + repr(error)
    return ""


@contextmanager
def _recorded_logs() -> Iterator[list[str]]:
    """Yield the texts of the log records of all loggers while the block runs, at every level."""
    texts: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(self.format(record))

    root, recorder = logging.getLogger(), Recorder()
    level = root.level
    root.addHandler(recorder)
    root.setLevel(logging.DEBUG)
    try:
        yield texts
    finally:
        root.removeHandler(recorder)
        root.setLevel(level)


def _hide(texts: list[str], secret: str) -> str:
    return texts[0].replace(secret, "[the secret]")[-600:] if texts else ""


def _run_in_child(function: Callable[[], Any], seconds: float) -> Any:
    """Return what a function returns in a forked process, as JSON; a text that says why there is nothing."""
    receiving, sending = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # threads of the test's own upstream do not run in the child
        pid = os.fork()
    if pid == 0:
        try:
            os.close(receiving)
            text = json.dumps(function())
        except BaseException as error:
            text = json.dumps(f"{type(error).__name__}: {error}")
        with os.fdopen(sending, "w") as pipe:
            pipe.write(text)
        os._exit(0)
    os.close(sending)
    received, until = b"", time.monotonic() + seconds
    while wait([receiving], max(0.0, until - time.monotonic())):
        part = os.read(receiving, 65_536)
        received += part
        if not part:
            break
    else:
        os.kill(pid, 9)
    os.close(receiving)
    os.waitpid(pid, 0)
    return json.loads(received) if received else f"nothing within {seconds:g} s"
