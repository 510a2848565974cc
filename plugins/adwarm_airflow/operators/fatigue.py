"""Scores ad fatigue from stored data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from adwarm_airflow.page_links import FatigueLink

if TYPE_CHECKING:
    from airflow.sdk import Context


class ScoreFatigueOperator(BaseOperator):
    """Scores the ads of accounts as of a day, without an upstream call.

    Skips accounts whose data has not changed since their last score. Returns counts by band.

    Args:
        accounts: account ids; None for all known accounts.
        as_of: the day, `YYYY-MM-DD`.
    """

    operator_extra_links = (FatigueLink(),)
    template_fields: Sequence[str] = ("accounts", "as_of")

    def __init__(self, *, accounts: Sequence[str] | None = None, as_of: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.accounts = accounts
        self.as_of = as_of

    def execute(self, context: Context) -> dict[str, Any]:
        """Score the accounts, and return counts.

        Raises:
            BadRequest: an account id or the day is not valid.
            Permanent: there are accounts to score, and none could be scored.
        """
        from datetime import date

        from adwarm.fatigue.account_scores import score_accounts
        from adwarm.store import accounts as account_table
        from adwarm_airflow.params import parse_param
        from adwarm_airflow.task_context import open_runtime
        from adwarm_airflow.tasks.warming import summarize_scores

        del context
        runtime = open_runtime()
        ids = (
            list(account_table.get_many(runtime.engine))
            if self.accounts is None
            else [account_table.find_id(runtime.context, text) for text in self.accounts]
        )
        day = parse_param(date.fromisoformat, self.as_of)
        result = score_accounts(runtime.context, [(name, day) for name in ids], runtime.clock.now(), runtime.pipeline)
        return summarize_scores(result)
