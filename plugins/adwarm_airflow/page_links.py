"""The buttons of tasks that open the web page: what a run warms, what holds calls back, scores, a review."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow.sdk import BaseOperatorLink, conf

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, XComArg

PAGE_PREFIX = "/adwarm"


def get_page_url(path: str, **query: str) -> str:
    """Return the URL of a part of the page, such as `plan`, below Airflow's own base URL."""
    base = str(conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base}{PAGE_PREFIX}/{path}{'?' if query else ''}{urlencode(query)}"


def get_review_url(run_id: str) -> str:
    """Return the URL of the page of a review; `run_id` is that of the stored review."""
    return get_page_url(f"reviews/{quote(run_id, safe='')}")


class RunPlanLink(BaseOperatorLink):
    """Opens the tab Plan with the warms of the task's run."""

    name = "Plan of this run"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the URL, which names the run as adwarm stores it."""
        from adwarm_airflow.run_window import stored_run_id

        return get_page_url("plan", run=stored_run_id(ti_key.dag_id, ti_key.run_id))


class FlowLink(BaseOperatorLink):
    """Opens the tab Flow: limits, waits, the request queue and errors."""

    name = "Limits and queue"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the URL."""
        return get_page_url("flow")


class FatigueLink(BaseOperatorLink):
    """Opens the tab Fatigue."""

    name = "Fatigue scores"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the URL."""
        return get_page_url("fatigue")


class ReviewPageLink(BaseOperatorLink):
    """Opens the page of a review."""

    name = "Review page"

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the URL of the page of the task's run."""
        from adwarm_airflow.run_window import stored_run_id

        return get_review_url(stored_run_id(ti_key.dag_id, ti_key.run_id))


LINKS = (RunPlanLink(), FlowLink(), FatigueLink(), ReviewPageLink())
"""Every link. The plugin registers them, so that the web server knows their classes."""


def with_link(task: XComArg, link: BaseOperatorLink) -> XComArg:
    """Return a task that is made by `@task`, which takes no link as an argument, with a link."""
    task.operator.operator_extra_links = (link,)  # type: ignore[attr-defined]
    return task
