"""Waits until reports are warm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue

if TYPE_CHECKING:
    from airflow.sdk import Context


class KeysWarmSensor(BaseSensorOperator):
    """Waits until reports are stored and fresh, so that whoever opens them next does not wait. Makes no upstream call.

    Looks once a minute for an hour by default, and holds no worker slot between two looks. When the time is up, the
    task fails, or is skipped with `soft_fail=True`. Returns how many reports are warm, and which are not.

    Args:
        accounts: account ids, such as `act_1234`.
        date_ranges: presets or `YYYY-MM-DD..YYYY-MM-DD`.
        report: a report of the settings.
        min_share: share of the reports, above 0 and up to 1, that must be warm.
    """

    template_fields: Sequence[str] = ("accounts", "date_ranges", "report")

    def __init__(
        self,
        *,
        accounts: Sequence[str],
        date_ranges: Sequence[str],
        report: str = "default",
        min_share: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"mode": "reschedule", "poke_interval": 60, "timeout": 3_600, **kwargs})
        self.accounts = accounts
        self.date_ranges = date_ranges
        self.report = report
        self.min_share = min_share

    def poke(self, context: Context) -> PokeReturnValue:
        """Look at every report once.

        Raises:
            BadRequest: there is no report to wait for, or an id, a range, the report or the share is not valid.
        """
        from adwarm.foundation.errors import BadRequest
        from adwarm.foundation.wording import format_some
        from adwarm.model import ReportKey
        from adwarm.serving import list_cold
        from adwarm.store.accounts import find_id
        from adwarm_airflow.task_context import open_runtime

        del context
        runtime = open_runtime()
        ids = [find_id(runtime.context, text) for text in self.accounts]
        keys = [ReportKey.parse(account, name, self.report) for account in ids for name in self.date_ranges]
        if not keys or not 0 < self.min_share <= 1:
            raise BadRequest("KeysWarmSensor needs an account and a date range, and a min_share above 0 and up to 1")
        cold = list_cold(runtime.reader, keys)
        warm = len(keys) - len(cold)
        names = [str(key) for key in cold]
        self.log.info("%d of %d reports are warm; not yet: %s", warm, len(keys), format_some(names, 3))
        result = {"warm": warm, "reports": len(keys), "cold": names[:100]}
        return PokeReturnValue(is_done=warm >= self.min_share * len(keys), xcom_value=result)
