"""Scores ad fatigue out of what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ScoreFatigueOperator(BaseOperator):
    """Scores the ads of accounts as of a day; makes no upstream call.

    Accounts whose data has not changed since their last score are left alone. Returns counts by band.

    Args:
        accounts: account ids; None for all known ones.
        as_of: the day, `YYYY-MM-DD`.
    """

    template_fields: Sequence[str] = ("accounts", "as_of")

    def __init__(self, *, accounts: Sequence[str] | None = None, as_of: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.accounts = accounts
        self.as_of = as_of

    def execute(self, context: Context) -> dict[str, Any]:
        """Score and report.

        Raises:
            BadRequest: an account id or the day is not valid.
            Permanent: not one account could be scored, though there is something to score.
        """
        from datetime import date

        from adwarm.fatigue.account_scores import score_accounts
        from adwarm.model import normalize_account_id
        from adwarm.store import accounts as known
        from adwarm_airflow.params import parse_param
        from adwarm_airflow.task_context import open_runtime
        from adwarm_airflow.tasks.warming import summarize_scores

        del context
        runtime = open_runtime()
        ids = (
            list(known.get_many(runtime.engine))
            if self.accounts is None
            else [normalize_account_id(text) for text in self.accounts]
        )
        day = parse_param(date.fromisoformat, self.as_of)
        report = score_accounts(runtime.context, [(name, day) for name in ids], runtime.clock.now())
        return summarize_scores(report)
