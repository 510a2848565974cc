"""The only file that Airflow loads from the plugins folder; the code is in the importable package `adwarm_airflow`."""

from airflow.plugins_manager import AirflowPlugin

try:
    import adwarm_airflow
    from adwarm_airflow import task_end
    from adwarm_airflow.deadlines import WarmByDeadline
    from adwarm_airflow.page import PageApp, list_views
    from adwarm_airflow.page_links import LINKS, PAGE_PREFIX
except ImportError as error:
    raise ImportError(
        "adwarm_airflow cannot be imported: PYTHONPATH must hold this project's include/ and plugins/ folders "
        "on every Airflow service"
    ) from error


class AdwarmPlugin(AirflowPlugin):
    """Registers adwarm with Airflow."""

    name = "adwarm"
    on_load = staticmethod(adwarm_airflow.check_core)
    fastapi_apps = [{"app": PageApp(), "url_prefix": PAGE_PREFIX, "name": "adwarm"}]  # noqa: RUF012 - read by Airflow
    external_views = list_views()
    listeners = [task_end]  # noqa: RUF012 - read by Airflow
    deadline_references = [WarmByDeadline]  # noqa: RUF012 - read by Airflow
    operator_extra_links = list(LINKS)  # noqa: RUF012 - read by Airflow
