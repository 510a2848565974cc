"""Fetches reports under the shared budget; gives its worker slot back while the platform asks for silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from adwarm_airflow.triggers import CapacityTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from adwarm.prefetch import BatchResult, KeyOutcome

SHORT_WAIT_SECONDS = 30.0
MAX_DEFERRALS = 10
"""So often in a row a task may wait for capacity, find some, and still fetch nothing."""

MAX_SCOPE_CHAINS = 100


class PrefetchInsightsOperator(BaseOperator):
    """Makes the reports of some accounts fresh, and skips those that are.

    One failing account never stops the rest; the task fails only when not one key ended fresh, and then with the
    gravest of their errors. Where a wait would be longer than 30 seconds the task is deferred, and goes on by itself as
    soon as there is capacity. An account that was denied is left alone for a day, unless a person clears the task.
    Returns counts by outcome, small enough for an XCom.

    Args:
        accounts: account ids, such as `act_1234`.
        date_ranges: presets or `YYYY-MM-DD..YYYY-MM-DD`.
        report: a report of the settings.
        priority: critical, high, normal or low.
        conn_id: a connection of type `facebook_social`.
        deferrable: whether a long wait frees the worker slot.
    """

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
            AdwarmError: not one key ended fresh; it is of the class of the gravest reason.
        """
        from adwarm_airflow.run_window import was_cleared

        self.prepare_attempt(context, by_human=was_cleared(context))
        return self.attempt(context, None, 0)

    def prepare_attempt(self, context: Context, *, by_human: bool) -> None:
        """Prepare an attempt: one that a person asked for by clearing the task lifts the denials of its accounts."""
        from adwarm.model import normalize_account_id
        from adwarm.store import denials
        from adwarm_airflow.task_context import open_runtime

        del context
        if by_human:
            runtime = open_runtime()
            denials.lift(runtime.engine, [normalize_account_id(text) for text in self.accounts])

    def attempt(self, context: Context, event: Any, deferrals: int) -> dict[str, int]:
        """Fetch what is not fresh yet; called again after each deferral."""
        from adwarm_airflow.task_context import connection_change_warnings

        del event
        report = self.prefetch(context)
        for text in connection_change_warnings(self.conn_id, [item.request.key.account_id for item in report.outcomes]):
            self.log.warning("%s", text)
        parked = _parked(report)
        if parked and self.deferrable and deferrals < MAX_DEFERRALS:
            self.log.info(
                "reports that wait: %d, and their worker slot is given back; the first, of %s: %s",
                len(parked),
                parked[0].request.key.account_id,
                parked[0].reason,
            )
            tries = 0 if report.summary()["fetched"] else deferrals
            trigger = self._capacity_trigger(parked, self.waiting_priority(context, parked))
            self.defer(trigger=trigger, method_name="attempt", kwargs={"deferrals": tries + 1})
        for text in report.errors():
            self.log.warning("%s", text)
        whole = self.full_report(context, report)
        self.log.info("outcomes: %s", whole.summary())
        if failure := whole.failure():
            raise failure
        return whole.summary()

    def full_report(self, context: Context, report: BatchResult) -> BatchResult:
        """Return what the task is judged by: here what its last run of the engine brought."""
        del context
        return report

    def waiting_priority(self, context: Context, parked: Sequence[KeyOutcome]) -> str:
        """Return the class in which the parked keys wait for capacity."""
        del context, parked
        return self.priority

    def _capacity_trigger(self, parked: Sequence[KeyOutcome], priority: str) -> CapacityTrigger:
        """Return what wakes the task when a parked account may be called, those first that wait the shortest."""
        from adwarm.store import accounts
        from adwarm_airflow.task_context import open_runtime

        names = list(dict.fromkeys(item.request.key.account_id for item in parked if not item.has_fixed_delay))[
            :MAX_SCOPE_CHAINS
        ]
        latest = next((item.retry_after for item in parked if item.has_fixed_delay), None)
        runtime = open_runtime(conn_id=self.conn_id)
        known, sources = accounts.get_many(runtime.engine, names), {"": runtime.make_source()}
        chains = []
        for name in names:
            own = known[name].connection if name in known else ""
            if own not in sources:
                make = (runtime.sources or {}).get(own)
                sources[own] = make() if make else sources[""]
            chains.append([str(scope) for scope in sources[own].scopes(name)])
        return CapacityTrigger(chains, priority, sources[""].name, latest)

    def prefetch(self, context: Context) -> BatchResult:
        """Run the engine once over every account and range.

        Raises:
            BadRequest: an account, a range, the report or the priority is not valid.
        """
        from adwarm.model import Priority, ReportKey
        from adwarm.prefetch import KeyRequest
        from adwarm_airflow.params import parse_param
        from adwarm_airflow.task_context import open_runtime

        del context
        keys = [ReportKey.parse(account, name, self.report) for account in self.accounts for name in self.date_ranges]
        priority = parse_param(Priority.parse, self.priority)
        runtime = open_runtime(conn_id=self.conn_id)
        return runtime.prefetch_engine().run(
            [KeyRequest(key) for key in keys], priority, wait_seconds=SHORT_WAIT_SECONDS
        )


def _parked(report: BatchResult) -> list[KeyOutcome]:
    """Return the reports that wait, the one that waits the shortest first."""
    return sorted((item for item in report.outcomes if item.status == "parked"), key=lambda item: item.retry_after or 0)
