"""What happens at the end of a task. Airflow loads this module in every process, so it imports next to nothing."""

import sys

from airflow.listeners import hookimpl


@hookimpl
def before_stopping(component: object) -> None:
    """Send the notices of alerts that this process has raised, if it uses channels at all."""
    del component
    channels = sys.modules.get("adwarm_airflow.alert_channels")
    if channels is not None:
        channels.deliver_rest()
