"""Asks a person whether what a review proposes shall go live; without an answer it does not."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

ANSWERED_BY = "answered_by"
"""The XCom that holds who answered; None when nobody did in time."""


class PromotionApprovalOperator(ApprovalOperator):
    """Airflow's approval: Reject is the default, and what is taken when nobody answers in time.

    How long it waits is the setting `review.approval_hours`, read when the task runs. No worker is held meanwhile.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(defaults=self.REJECT, **kwargs)

    def execute(self, context: Mapping[str, Any]) -> Any:
        """Ask, and wait for the answer."""
        from adwarm.settings import load_settings

        self.response_timeout = timedelta(hours=load_settings().review.approval_hours)
        return super().execute(context)

    def execute_complete(self, context: Mapping[str, Any], event: dict[str, Any]) -> Any:
        """Say who answered, also when the answer is no: Airflow's own result is not kept then."""
        user = event.get("responded_by_user") or {}
        context["ti"].xcom_push(key=ANSWERED_BY, value=user.get("name") or user.get("id"))
        return super().execute_complete(context, event)
