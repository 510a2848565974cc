"""Finds the ad accounts that the connections can read, and stores them; `account_changes` decides what is stored.

Each page of a list is one call under admission, so a parked scope is never called and the shared budget is kept. An
error ends the list of its own connection only, and a malformed account is left out and named.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from adwarm.backpressure import Admission, CallRequest, acquire_grant
from adwarm.foundation.clock import Clock, TimeLimit, limited
from adwarm.foundation.errors import AdwarmError, Blocked, NoCapacity, Refused, TooMuchData, Transient
from adwarm.maintenance.account_changes import (
    AccountList,
    ChangeKind,
    DiscoveryResult,
    compare_lists,
    describe_error,
)
from adwarm.maintenance.platform_calls import CHECK
from adwarm.model import Account, Priority
from adwarm.recovery import Call, RecoveryPipeline
from adwarm.sources.pool import SourceFactory, naming_credential
from adwarm.sources.protocol import AccountPage, InsightsSource
from adwarm.sources.units import PageTrail, call_limit
from adwarm.store import Context, accounts, denials, write_transaction, zone_changes
from adwarm.store.accounts import Discovery, list_discoveries, save_discovery, save_failed_discovery
from adwarm.store.read_traffic import count_calls, counting_refusals

INTERVAL = timedelta(hours=6)
"""How often a connection's accounts are listed, a call for each hundred: an account may get another time zone."""
RETRY_INTERVAL = timedelta(hours=1)
"""The same after a temporary error, and while a connection lists no account at all."""
_SMALLER_PAGES = (25, 5)


@dataclass
class AccountDiscovery:
    """Lists the accounts of connections and stores them.

    Attributes:
        pipeline: retries and alerts; without it a call is made once.
        clock: the time that accounts are seen at.
    """

    context: Context
    admission: Admission
    pipeline: RecoveryPipeline | None
    clock: Clock

    def list_due(self, sources: Mapping[str, SourceFactory]) -> tuple[dict[str, SourceFactory], list[str]]:
        """Return the connections whose accounts are to be listed now, and for each other one why not.

        A connection is due every six hours, at once when it is new or its credential has changed, and hourly after a
        temporary error or while it lists no account.
        """
        attempts, now = list_discoveries(self.context.engine), self.clock.now()
        due: dict[str, SourceFactory] = {}
        reasons: list[str] = []
        for name, make_source in sources.items():
            connection, credential = _identify(name, make_source)
            attempt = attempts.get(connection)
            again_at = _next_attempt(attempt, credential) if attempt else now
            if attempt is None or again_at <= now:
                due[name] = make_source
            else:
                reasons.append(_why_not_due(attempt, again_at))
        return due, reasons

    def run(self, sources: Mapping[str, SourceFactory], *, dry_run: bool = False) -> DiscoveryResult:
        """List the accounts of every connection and store them; with `dry_run` only say what would change.

        The errors of single connections are in the result.
        """
        lists = [self.read(name, make_source) for name, make_source in sources.items()]
        now, engine = self.clock.now(), self.context.engine
        if dry_run:
            return compare_lists(lists, accounts.list_records(engine, now))
        for item in lists:
            if item.credential:
                denials.lift_outdated(engine, item.connection, item.credential, item.version)
        with write_transaction(engine) as connection:
            result = compare_lists(lists, accounts.read_records(connection, now, lock=True))
            changed = result.of_kind(ChangeKind.CHANGED, ChangeKind.DENIED)
            zones = zone_changes.note(connection, changed, now)
            accounts.save_listed(connection, result.of_kind(ChangeKind.NEW, ChangeKind.CHANGED), now)
            accounts.save_listed_denied(connection, result.of_kind(ChangeKind.DENIED), now)
            accounts.mark_seen(connection, [item.id for item in result.of_kind(ChangeKind.UNCHANGED)], now)
            for item in lists:
                _save_attempt(connection, item, now)
        if self.pipeline is not None:
            zone_changes.raise_alerts(zones, self.pipeline.alert)
        return result

    def read(self, name: str, make_source: SourceFactory, *, until: datetime | None = None) -> AccountList:
        """Return the accounts that a connection lists. An error ends the list and is in the result.

        Args:
            name: names the connection while its source cannot be built.
            make_source: builds its source, which knows the name under which its accounts are stored; called again for
                every page, since a renewed token has another source.
        """
        by_id: dict[str, Account] = {}
        problems: list[str] = []
        credential, version, error, is_cut = "", "", None, False
        try:
            source = make_source()
            name, credential, version = source.connection, source.credential, source.capabilities.api_version
            trail = PageTrail("the list of accounts")
            seconds = self.context.settings.account_seconds
            with limited(TimeLimit(seconds, "the list of accounts", "ADWARM_ACCOUNT_SECONDS")):
                while not is_cut:
                    page = self._read_page(make_source, name, trail.cursor)
                    before = len(by_id)
                    by_id.update((item.id, item) for item in page.accounts)
                    problems += page.problems
                    trail.add(page.next_cursor, len(page.accounts), min(1, len(by_id) - before))
                    if trail.cursor is None:
                        break
                    is_cut = until is not None and self.clock.now() >= until
            credential = make_source().credential  # another one than before when the token was renewed
        except AdwarmError as failure:
            error = failure
        return AccountList(
            connection=name,
            credential=credential,
            version=version,
            accounts=by_id,
            problems=tuple(problems),
            error=error,
            is_cut=is_cut,
        )

    def _read_page(self, make_source: SourceFactory, name: str, cursor: str | None) -> AccountPage:
        """Read a page under admission, and a smaller one when the platform says that it is too large."""
        for size in (None, *_SMALLER_PAGES[:-1]):
            try:
                return self._call(make_source, name, cursor, size)
            except TooMuchData:
                continue
        return self._call(make_source, name, cursor, _SMALLER_PAGES[-1])

    def _call(self, make_source: SourceFactory, name: str, cursor: str | None, size: int | None) -> AccountPage:
        timeout = self.context.settings.backpressure.timeout_seconds

        def once() -> AccountPage:
            source = make_source()
            request = CallRequest(source.scopes(""), Priority.NORMAL, source.name, connection=source.connection)
            admitted = acquire_grant(self.admission, self.clock, request, timeout_seconds=timeout)
            with counting_refusals(self.context.engine, self.clock, "", CHECK), admitted as grant:
                count_calls(self.context.engine, self.clock.now(), "", CHECK, calls=1)
                with naming_credential(source):
                    page = source.list_account_page(cursor, size)
                grant.record_usage(page.usage)
                return page

        if self.pipeline is None:
            return once()
        source = make_source()
        subject, version = f"accounts of {name}", source.capabilities.api_version
        call = Call(source.name, name, subject=subject, version=version)
        with limited(call_limit(self.context.settings.source)):
            return self.pipeline.run(once, call=call).value


def is_postponed(error: AdwarmError) -> bool:
    """Whether an error only says when to call again. No attempt is recorded then, so the next run tries again."""
    return isinstance(error, NoCapacity | Refused) and not isinstance(error, Blocked)


def _save_attempt(connection: Connection, item: AccountList, now: datetime) -> None:
    if item.error is None:
        save_discovery(connection, item.connection, item.credential, len(item.accounts), now)
    elif not is_postponed(item.error):
        text, is_temporary = describe_error(item.error), isinstance(item.error, Transient)
        save_failed_discovery(
            connection,
            Discovery(
                connection=item.connection,
                credential=item.credential,
                attempted_at=now,
                completed_at=None,
                listed=0,
                error=text,
                is_temporary=is_temporary,
            ),
        )


def _identify(name: str, make_source: Callable[[], InsightsSource]) -> tuple[str, str]:
    """Return the name of a connection and the digest of its credential, empty when its source cannot be built."""
    try:
        source = make_source()
    except AdwarmError:
        return name, ""  # `read` meets the same error and reports it
    return source.connection, source.credential


def _next_attempt(attempt: Discovery, credential: str) -> datetime:
    """Return when a connection is due again."""
    if attempt.credential != credential:
        return attempt.attempted_at
    is_soon = attempt.is_temporary if attempt.error else attempt.listed == 0
    return attempt.attempted_at + (RETRY_INTERVAL if is_soon else INTERVAL)


def _why_not_due(attempt: Discovery, again_at: datetime) -> str:
    last = attempt.error or f"{attempt.listed:,} accounts listed"
    return (
        f"connection {attempt.connection}, {attempt.attempted_at:%Y-%m-%d %H:%M} UTC: {last}; next attempt at "
        f"{again_at:%Y-%m-%d %H:%M} UTC, or as soon as its credential changes"
    )
