"""What happens at the end of a task. Airflow loads this module in every process, so it imports next to nothing."""

import sys

from airflow.listeners import hookimpl


@hookimpl
def before_stopping(component: object) -> None:
    """Send the notices of alerts, if this process has used adwarm's database at all."""
    del component
    delivery = sys.modules.get("adwarm.recovery.alert_delivery")
    if delivery is not None:
        delivery.flush_notices()
