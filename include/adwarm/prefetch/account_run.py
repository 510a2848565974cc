"""One account's share of a batch, from the first question about it to an outcome for each of its keys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from adwarm.errors import AdwarmError, Denied, Refused, Throttled, TokenDead, Transient
from adwarm.model import Account, Actor, Priority, was_meant
from adwarm.prefetch.account_job import AccountJob
from adwarm.prefetch.fetching import Fetcher
from adwarm.prefetch.holding import HeldElsewhere, hold, holding
from adwarm.prefetch.outcome import KeyOutcome, KeyStatus, Wanted, without_frames
from adwarm.prefetch.polling import Watched
from adwarm.prefetch.reporting import ReportRunning, RunningReport
from adwarm.sources.protocol import Handle, JobProgress
from adwarm.store import accounts, entries, traffic

if TYPE_CHECKING:
    from adwarm.prefetch.engine import PrefetchEngine

_COME_BACK_SECONDS = 15.0


@dataclass
class AccountRun:
    """The wanted keys of one account and report. Worked by one thread at a time.

    Attributes:
        dead: connections whose token has died; shared by the batch.
        progress: hears of the outcomes.
        connection: whose token reads the account.
    """

    house: "PrefetchEngine"
    wanted: Sequence[Wanted]
    priority: Priority
    wait_seconds: float
    dead: set[str]
    progress: Callable[[Sequence[KeyOutcome]], None] | None = None
    connection: str = ""
    _fetcher: Fetcher | None = None
    _job: AccountJob | None = None
    _handle: Handle | None = None
    _throttled: bool = False

    def step(self) -> list[KeyOutcome] | RunningReport:
        """Go on until every key has its outcome, or a report has to be waited for, which is returned."""
        try:
            outcomes = self._outcomes()
        except ReportRunning as running:
            self._handle = running.report.handle
            return running.report
        except AdwarmError as error:
            self._release(done=False)
            outcomes = self._explained(error)
        except BaseException:
            self._release(done=False)
            raise
        self._release(done=True)
        return self._told(outcomes)

    def landed(self, progress: JobProgress) -> None:
        """Take notice that the report has ended."""
        if self._fetcher and self._handle:
            self._fetcher.landed[self._handle.id] = progress

    def looked(self, times: int) -> None:
        """Count calls made to look after the report."""
        if self._fetcher:
            self._fetcher.requests += times

    def beat(self) -> None:
        """Keep the lease.

        Raises:
            Transient: it was lost.
        """
        if self._job and self._job.held:
            self._job.held.beat()

    def fail(self, error: AdwarmError) -> list[KeyOutcome]:
        """End with an error; the lease is given back."""
        self._release(done=False)
        return self._told(self._explained(error))

    def hand_back(self, seen: Watched | None) -> list[KeyOutcome]:
        """End for now; whoever takes the lease next takes the running report up."""
        percent, seconds = 0.0, _COME_BACK_SECONDS
        if seen is not None:
            percent, seconds = seen.percent, max(seconds, seen.due)
            if self._fetcher and self._fetcher.notes:
                self._fetcher.notes.stands(seen.percent, seen.quiet)
        self._release(done=False)
        name = self._handle.id if self._handle else "?"
        reason = f"report {name} is being made ({percent:.0f} %); it is taken up where it is by whoever asks next"
        return self._told(self._ended(KeyStatus.PARKED, Transient(reason, retry_after=seconds), seconds, timed=True))

    @property
    def _account_id(self) -> str:
        return self.wanted[0].key.account_id

    def _outcomes(self) -> list[KeyOutcome]:
        account = self._known()
        if account.status == "denied":
            known = Denied("the account was denied to this token before", account_id=account.id)
            return self._ended(KeyStatus.DENIED, known, None)
        self._connect(account.connection)
        if self._job is None:
            self._job = AccountJob(
                self.house.engine, self.house.objects, self.house.settings, self._fetcher_of_thread(), account,
                self.wanted[0].key.report, self._owner(),
            )  # fmt: skip
        fetcher = self._fetcher_of_thread()
        first, *others = self._job.run(self.wanted)
        booked = sum(outcome.requests for outcome in (first, *others))
        return [replace(first, requests=first.requests + fetcher.requests - booked), *others]

    def _owner(self) -> str:
        """Return a name for a lease: two fetches of one process are two owners."""
        return f"{self.house.owner}/{uuid4().hex[:12]}"

    def _fetcher_of_thread(self) -> Fetcher:
        """Return the account's fetcher with the upstream of this thread."""
        house, source = self.house, self.house.source(self.connection)
        if self._fetcher is None:
            self._fetcher = Fetcher(
                source, house.admission, house.pipeline, house.clock, self.priority, self.wait_seconds,
                house.settings.source,
            )  # fmt: skip
        self._fetcher.source = source
        return self._fetcher

    def _connect(self, connection: str) -> None:
        """Go on with the token of `connection`.

        Raises:
            TokenDead: it died in this batch already.
        """
        self.connection = connection if connection in self.house.sources else ""
        if self.connection in self.dead:
            raise TokenDead("the access token is dead; renew it in the connection")

    def _known(self) -> Account:
        """Return the account, asking the upstream when nobody has, or when it was denied long ago."""
        found = accounts.get(self.house.engine, self._account_id)
        if found is not None and found.status == "denied":
            since = accounts.told_at(self.house.engine, self._account_id)
            if since is not None and self.house.clock.now() - since < accounts.DENIED_FOR:
                return found
        elif found is not None and found.is_told:
            return found
        fetcher = self._fetcher_of_thread()
        with holding(hold(self.house.engine, f"account:{self._account_id}", self._owner(), fetcher)):
            other = accounts.get(self.house.engine, self._account_id)
            if other is not None and other.is_told and other != found:
                return other  # another worker has asked meanwhile
            told = self._asked_about(found.connection if found else "")
            accounts.put(self.house.engine, [told], self.house.clock.now())
        return accounts.get(self.house.engine, self._account_id) or told

    def _asked_about(self, first: str) -> Account:
        """Ask each connection in turn, the account's own first, until one may read it."""
        own = first if first in self.house.sources else ""
        names = list(dict.fromkeys([own, "", *self.house.sources]))
        for name in names[:-1]:
            try:
                return self._told_by(name)
            except Denied:
                continue
        return self._told_by(names[-1])

    def _told_by(self, connection: str) -> Account:
        self._connect(connection)
        fetcher = self._fetcher_of_thread()
        return fetcher.call(self._account_id, lambda: fetcher.source.account(self._account_id))

    def _explained(self, error: AdwarmError) -> list[KeyOutcome]:
        if isinstance(error, TokenDead):
            self.dead.add(self.connection)
        if isinstance(error, Denied):
            self._deny(error)
            return self._ended(KeyStatus.DENIED, error, None)
        if isinstance(error, Throttled):
            self._throttled = True
            seconds = max(0.0, (error.until - self.house.clock.now()).total_seconds())
            return self._ended(KeyStatus.PARKED, error, seconds)
        if isinstance(error, Refused | HeldElsewhere):  # what was given up, or is worked on elsewhere, comes back
            return self._ended(KeyStatus.PARKED, error, error.retry_after, timed=isinstance(error, HeldElsewhere))
        return self._ended(KeyStatus.FAILED, error, None)

    def _deny(self, error: Denied) -> None:
        """Keep the verdict, also of an account that was never told about; its zone stays a guess."""
        zone, now = self.house.settings.default_zone, self.house.clock.now()
        accounts.discover(self.house.engine, [Account(error.account_id, zone, zone, currency="")], now)
        accounts.mark(self.house.engine, error.account_id, "denied", str(error), now)

    def _ended(
        self, status: KeyStatus, error: AdwarmError, retry_after: float | None, *, timed: bool = False
    ) -> list[KeyOutcome]:
        """Return outcomes for keys that could not be fetched; one that still has an old entry ends as stale."""
        house, first, zone = self.house, self.wanted[0].key, self.house.settings.default_zone
        kept = entries.listing(house.engine, first.account_id) if status is KeyStatus.FAILED else []
        account = accounts.get(house.engine, first.account_id) or Account(first.account_id, zone, zone)
        spec = house.settings.spec(first.report)
        requests, reason = self._fetcher.requests if self._fetcher else 0, str(error)
        outcomes = []
        for number, item in enumerate(self.wanted):
            stale = any(was_meant(entry.key, item.key, account, spec, entry.fetched_at) for entry in kept)
            outcomes.append(
                KeyOutcome(
                    item,
                    KeyStatus.STALE if stale else status,
                    requests=requests if number == 0 else 0,
                    reason=f"{reason}; the older answer is kept and marked stale" if stale else reason,
                    retry_after=retry_after,
                    timed=timed,
                    error=without_frames(error),
                )
            )
        return outcomes

    def _told(self, outcomes: list[KeyOutcome]) -> list[KeyOutcome]:
        """Add the account's calls to the traffic of the hour, and tell of the outcomes."""
        counts = {
            "upstream_calls": sum(outcome.requests for outcome in outcomes),
            "throttles": int(self._throttled),
            "errors": int(any(outcome.status in {KeyStatus.FAILED, KeyStatus.STALE} for outcome in outcomes)),
        }
        if any(counts.values()):
            now: datetime = self.house.clock.now()
            traffic.add(self.house.engine, now, self._account_id, Actor.WARMER.value, **counts)
        if self.progress:
            self.progress(outcomes)
        return outcomes

    def _release(self, *, done: bool) -> None:
        if self._job:
            self._job.release(done=done)
