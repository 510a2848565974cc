"""Reads what the ads show that the tab Fatigue names first, so that people see pictures beside the names.

| of                                             | is read                                | calls               |
|------------------------------------------------|----------------------------------------|---------------------|
| ads of an account that have no row yet         | by the next run                        | one for up to 25    |
| the same ads again: their creative may be new  | once a day; after 12 h beside others   | the same            |
| a picture                                      | once for each creative of an account   | one download        |
| a picture that cannot be downloaded            | again a day later, by a new link       | the same            |
| an ad that is not listed, or a refused account | a day later; what is stored stays      | the same            |
| an account or a host that fails for the        | by the next run; what is stored stays  | none more in a run  |
| moment, a connection with an open breaker      |                                        |                     |
| a connection that is not valid, with a dead    | by the next run; a run fails in which  | none more in a run  |
| token or an ended version of the API           | nothing else was read                  |                     |
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import AdwarmError, BadRequest, NotFound, Refused, TokenDead, Transient, VersionEnded
from adwarm.maintenance.platform_calls import PlatformCalls
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.model import Account
from adwarm.sources.protocol import Creative, CreativeSource
from adwarm.store import accounts, creatives
from adwarm.store.creatives import AdCreative

T = TypeVar("T")
MAX_REQUESTS: Final = 200
"""Calls and downloads of one run; the next run goes on."""
_FRESH_DAYS: Final = 4
_AGAIN: Final = timedelta(days=1)
_MAX_TITLE, _MAX_FORMAT = 400, 40


def make_read_creatives(calls: PlatformCalls, clock: Clock) -> Step:
    """Return the step."""

    def read_creatives(cursor: object, budget: StepBudget) -> StepResult:
        """Read what is due, account by account. What is stored says what is left, so the cursor holds nothing."""
        del cursor
        now = clock.now()
        due = creatives.list_due(calls.context.engine, now.date() - timedelta(days=_FRESH_DAYS), now - _AGAIN)
        if not due:
            return StepResult(skipped="no ad waits for its creative")
        try:
            calls.factories()
        except BadRequest as error:
            return StepResult(skipped=f"there is no platform to read from: {error}")
        run = _Run(calls, now)
        by_id = accounts.list_as_of(calls.context.engine, now)
        for account_id, ad_ids in due.items():
            account = by_id.get(account_id)
            if account is None or account.status != "active":
                continue
            if budget.is_used_up or run.is_full:
                return StepResult(dict(run.counts), "more", run.problems)
            run.read(account, ad_ids)
            if run.has_no_host:
                break
        if run.failure is not None and not run.counts["ads"]:
            raise run.failure
        nothing = None if run.counts or run.problems else "no account that waits is active and has creatives to look at"
        return StepResult(dict(run.counts), problems=run.problems, skipped=nothing)

    return read_creatives


@dataclass
class _Run:
    calls: PlatformCalls
    now: datetime
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    has_no_host: bool = False
    failure: AdwarmError | None = None
    ended: set[str] = field(default_factory=set)

    @property
    def is_full(self) -> bool:
        """Whether this run made all its requests."""
        return self.counts["calls"] + self.counts["downloads"] >= MAX_REQUESTS

    def read(self, account: Account, ad_ids: Sequence[str]) -> None:
        """Read and store the creatives of ads of an account; an error is a problem of the run."""
        if account.connection in self.ended:
            return
        engine = self.calls.context.engine
        try:
            source = self.calls.get_source(account.connection)
        except AdwarmError as error:
            self._end(account, error)
            return
        if not isinstance(source, CreativeSource):
            return
        listing = self._counting("calls", lambda: source.list_creatives(account.id, ad_ids))
        try:
            page = self.calls.call(source, account.id, listing)
        except (TokenDead, VersionEnded) as error:
            self._end(account, error)
            return
        except AdwarmError as error:
            self.problems.append(f"{account.id}: {error}")
            if isinstance(error, Refused) and not str(error.scope).startswith("account:"):
                self.ended.add(account.connection)
            elif not isinstance(error, Transient | Refused):
                creatives.postpone(engine, account.id, ad_ids, self.now)
            return

        def download(url: str) -> bytes:
            return self.calls.download(source, self._counting("downloads", lambda: source.read_thumbnail(url)))

        seen = creatives.find_pictures(engine, account.id, {item.creative_id for item in page.creatives})
        rows = [row for item in page.creatives if (row := self._look_at(item, seen, download)) is not None]
        creatives.save(engine, account.id, rows, self.now)
        self.counts["ads"] += len(rows)
        creatives.postpone(engine, account.id, sorted(set(ad_ids) - {item.ad_id for item in page.creatives}), self.now)

    def _end(self, account: Account, error: AdwarmError) -> None:
        """Make no more calls by the connection of an account."""
        self.problems.append(f"{account.id}: {error}")
        self.failure = error
        self.ended.add(account.connection)

    def _counting(self, name: str, operation: Callable[[], T]) -> Callable[[], T]:
        """Return the operation, which is counted once it is admitted."""

        def counted() -> T:
            self.counts[name] += 1
            return operation()

        return counted

    def _look_at(
        self, item: Creative, seen: dict[str, AdCreative], download: Callable[[str], bytes]
    ) -> AdCreative | None:
        """Return what an ad shows, with its picture; None when the picture can be had later."""
        row = AdCreative(item.ad_id, item.creative_id, item.title[:_MAX_TITLE], item.format[:_MAX_FORMAT])
        stored = seen.get(item.creative_id)
        if stored is None and item.thumbnail_url:
            if self.has_no_host or self.is_full:
                return None
            try:
                stored = creatives.store_picture(self.calls.context.objects, row, download(item.thumbnail_url))
            except (Transient, Refused) as error:
                self.problems.append(f"pictures: {error}")
                self.has_no_host = True
                return None
            except NotFound:
                self.counts["missing"] += 1  # its link has ended, which is no problem of anybody
            except AdwarmError as error:
                self.problems.append(f"ad {item.ad_id}: {error}")
        if stored is None:
            return row
        seen[item.creative_id] = stored
        return replace(row, object_hash=stored.object_hash, suffix=stored.suffix)
