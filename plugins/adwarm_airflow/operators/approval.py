"""The review of the live policy, and the human approval of what it proposes; without a response it is rejected."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import BaseOperator

from adwarm_airflow.page_links import ReviewPageLink

if TYPE_CHECKING:
    from airflow.sdk import Context

_LONGEST_WAIT = timedelta(days=3)


class ReviewPoliciesOperator(BaseOperator):
    """Replays, evaluates and reports; falls back when the calibration is bad. Links to the page that it writes."""

    operator_extra_links = (ReviewPageLink(),)

    def execute(self, context: Context) -> dict[str, Any]:
        """Review the live policy; see `adwarm_airflow.tasks.review.review`."""
        from adwarm_airflow.tasks import review

        return review.review(context)


class PromotionApprovalOperator(ApprovalOperator):
    """Airflow's approval operator with Reject as the default, which also applies when nobody responds in time.

    It waits three days at most, and holds no worker meanwhile.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{
            "defaults": self.REJECT,
            "doc_md": self.__doc__,
            "response_timeout": _LONGEST_WAIT,
            **kwargs,
        })

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Push who responded as an XCom, also after a rejection, for which Airflow itself stores no result."""
        from adwarm_airflow.tasks.review import ANSWERED_BY

        user = event.get("responded_by_user") or {}
        context["ti"].xcom_push(key=ANSWERED_BY, value=user.get("name") or user.get("id"))
        return super().execute_complete(context, event)
