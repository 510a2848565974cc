"""Fetches reports within the shared limits, and defers while the platform asks to wait."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from adwarm_airflow.page_links import FlowLink
from adwarm_airflow.triggers import CapacityTrigger

if TYPE_CHECKING:
    from airflow.sdk import BaseOperatorLink, Context

    from adwarm.prefetch import BatchResult, KeyOutcome

SHORT_WAIT_SECONDS = 30.0
MAX_DEFERRALS = 10
"""Deferrals in a row after which a task that still fetched nothing fails."""

MAX_SCOPE_CHAINS = 100


class PrefetchInsightsOperator(BaseOperator):
    """Fetches reports of accounts; fresh reports are skipped.

    A failing account does not stop the others. A key that cannot be fetched is looked up in the fallback chain of the
    settings; when that has data, it ends `stale`, and the log says where from, how old and why. The task fails only
    when no key ended fresh, and one of them has no data at all or an error that does not pass by itself, such as a
    dead token; then with the most severe error. For a wait longer than 30 seconds the task is deferred, and resumes
    when there is capacity. A denied account is not called for a day, unless a human clears the task. Returns counts by
    outcome, small enough for an XCom.

    Args:
        accounts: account ids, such as `act_1234`.
        date_ranges: presets or `YYYY-MM-DD..YYYY-MM-DD`.
        report: a report of the settings.
        priority: critical, high, normal or low.
        conn_id: a connection of type `adwarm_meta` or `facebook_social`.
        deferrable: whether the task defers, and frees its worker slot, for a long wait.
    """

    operator_extra_links: Collection[BaseOperatorLink] = (FlowLink(),)
    template_fields: Sequence[str] = ("accounts", "date_ranges", "report", "priority", "conn_id")

    def __init__(
        self,
        *,
        accounts: Sequence[str] = (),
        date_ranges: Sequence[str] = (),
        report: str = "default",
        priority: str = "low",
        conn_id: str = "facebook_default",
        deferrable: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.accounts = accounts
        self.date_ranges = date_ranges
        self.report = report
        self.priority = priority
        self.conn_id = conn_id
        self.deferrable = deferrable

    def execute(self, context: Context) -> dict[str, int]:
        """Fetch, and defer while keys are parked for long.

        Raises:
            AdwarmError: no key ended fresh, and one has no data or a permanent error; the most severe one.
        """
        from adwarm_airflow.run_window import was_cleared

        self.prepare_attempt(context, by_human=was_cleared(context))
        return self.attempt(context, None, 0)

    def prepare_attempt(self, context: Context, *, by_human: bool) -> None:
        """Prepare an attempt: lift the denials of the accounts when a human cleared the task."""
        from adwarm.store import accounts, denials
        from adwarm_airflow.task_context import open_runtime

        del context
        if by_human:
            runtime = open_runtime()
            denials.lift(runtime.engine, [accounts.find_id(runtime.context, text) for text in self.accounts])

    def attempt(self, context: Context, event: Any, deferrals: int) -> dict[str, int]:
        """Fetch what is not fresh yet; Airflow calls this again after each deferral."""
        from adwarm.prefetch.outcome_texts import describe_denied, describe_result, list_denied
        from adwarm.serving.read_chain import describe_fallbacks
        from adwarm_airflow.task_context import connection_change_warnings

        del event
        result = self.prefetch(context)
        for text in connection_change_warnings(self.conn_id, [item.request.key.account_id for item in result.outcomes]):
            self.log.warning("%s", text)
        parked = _parked(result)
        if parked and self.deferrable and deferrals < MAX_DEFERRALS:
            self.log.info("%s", describe_result(result))
            self.log.info(
                "%s for capacity; until then the task is deferred and holds no worker slot. The first one, %s: %s",
                "1 report waits" if len(parked) == 1 else f"{len(parked):,} reports wait",
                parked[0].request.key,
                parked[0].reason,
            )
            idle_deferrals = 0 if result.summary()["fetched"] else deferrals
            trigger = self._capacity_trigger(parked, self.waiting_priority(context, parked))
            self.defer(trigger=trigger, method_name="attempt", kwargs={"deferrals": idle_deferrals + 1})
        full = self.with_fallbacks(self.full_result(context, result))
        self.log.info("%s", describe_result(full))
        for line in describe_fallbacks(full.outcomes):
            self.log.warning("%s", line)
        if denied := list_denied(full.outcomes):
            self.log.warning("%s", describe_denied(denied, self.conn_id))
        if failure := full.failure():
            raise failure
        self._announce(context, full)
        return full.summary()

    def _announce(self, context: Context, result: BatchResult) -> None:
        """Send an event of the entries, if they are an outlet of this task, when at least one was fetched."""
        from adwarm_airflow.assets import ENTRIES, announce_if

        if ENTRIES in self.outlets:
            counts = {**result.summary(), "accounts": len({item.request.key.account_id for item in result.outcomes})}
            announce_if(context, ENTRIES, counts, is_written=bool(counts["fetched"]))

    def full_result(self, context: Context, result: BatchResult) -> BatchResult:
        """Return the outcomes that decide whether the task fails: here those of the last attempt."""
        del context
        return result

    def with_fallbacks(self, result: BatchResult) -> BatchResult:
        """Return `result` with the failed keys looked up in the fallback chain of the settings."""
        from adwarm.prefetch.batch_result import KeyStatus
        from adwarm.serving.read_chain import look_up_fallbacks
        from adwarm_airflow.task_context import open_runtime

        if not result.count(KeyStatus.FAILED, KeyStatus.STALE):
            return result
        return look_up_fallbacks(open_runtime(conn_id=self.conn_id).read_chain, result)

    def waiting_priority(self, context: Context, parked: Sequence[KeyOutcome]) -> str:
        """Return the class in which the parked keys wait for capacity."""
        del context, parked
        return self.priority

    def _capacity_trigger(self, parked: Sequence[KeyOutcome], priority: str) -> CapacityTrigger:
        """Return the trigger that resumes the task when a call for one of the parked accounts would be admitted."""
        from adwarm.store import accounts
        from adwarm_airflow.task_context import open_runtime

        ids = list(dict.fromkeys(item.request.key.account_id for item in parked if not item.has_fixed_delay))
        ids = ids[:MAX_SCOPE_CHAINS]
        latest = next((item.retry_after for item in parked if item.has_fixed_delay), None)
        runtime = open_runtime(conn_id=self.conn_id)
        stored, sources = accounts.get_many(runtime.engine, ids), {"": runtime.default_source_factory()}
        chains = []
        for account_id in ids:
            connection = stored[account_id].connection if account_id in stored else ""
            if connection not in sources:
                make = (runtime.sources or {}).get(connection)
                sources[connection] = make() if make else sources[""]
            source = sources[connection]
            names = [f"connection:{source.connection}", runtime.machine_guard.scope]
            chains.append([*map(str, source.scopes(account_id)), *names])
        return CapacityTrigger(chains, priority, sources[""].name, latest)

    def prefetch(self, context: Context) -> BatchResult:
        """Run the prefetch engine once over every account and range.

        Raises:
            BadRequest: an account, a range, the report or the priority is not valid.
        """
        from adwarm.model import Priority, ReportKey
        from adwarm.prefetch import KeyRequest
        from adwarm.prefetch.progress_log import ProgressLog
        from adwarm.store import accounts
        from adwarm_airflow.params import parse_param
        from adwarm_airflow.task_context import open_runtime

        del context
        priority = parse_param(Priority.parse, self.priority)
        runtime = open_runtime(conn_id=self.conn_id)
        ids = [accounts.find_id(runtime.context, text) for text in self.accounts]
        keys = [ReportKey.parse(account, name, self.report) for account in ids for name in self.date_ranges]
        accounts.add_named(runtime.context, ids, runtime.clock.now())
        engine = runtime.prefetch_engine()
        with ProgressLog(len(keys), self.log.log) as progress:
            return engine.run(
                [KeyRequest(key) for key in keys],
                priority,
                wait_seconds=SHORT_WAIT_SECONDS,
                progress=progress.add,
                heartbeat=progress.tick,
            )


def _parked(result: BatchResult) -> list[KeyOutcome]:
    """Return the parked outcomes, the shortest wait first."""
    return sorted((item for item in result.outcomes if item.status == "parked"), key=lambda item: item.retry_after or 0)
