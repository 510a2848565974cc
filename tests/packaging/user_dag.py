"""A user's own DAG: an operator, a link and the hook of the installed package."""

from datetime import UTC, datetime

from airflow.sdk import dag, task

from adwarm_airflow.hooks.meta import MetaHook
from adwarm_airflow.operators import PrefetchInsightsOperator


@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False)
def own_report() -> None:
    """Fetch two reports, then list the accounts of the connection."""

    @task
    def count_accounts() -> int:
        source = MetaHook().get_conn()
        try:
            return len(source.list_account_page(None).accounts)
        finally:
            source.close()

    fetch = PrefetchInsightsOperator(task_id="fetch", accounts=["act_2"], date_ranges=["yesterday", "last_7d"])
    fetch >> count_accounts()


own_report()
