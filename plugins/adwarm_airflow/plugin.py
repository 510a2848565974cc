"""The plugin: the page, the listener, the links and the deadline reference.

An installed distribution registers it by its entry point `airflow.plugins`; in a checkout, `plugins/adwarm_plugin.py`
does. It is not among the plugins of the provider info, because Airflow would load it a second time with
`[core] lazy_discover_providers = False`, and report that as an import error.
"""

from airflow.plugins_manager import AirflowPlugin

import adwarm_airflow
from adwarm_airflow import task_end
from adwarm_airflow.deadlines import WarmByDeadline
from adwarm_airflow.page import PageApp, list_views
from adwarm_airflow.page_links import LINKS, PAGE_PREFIX


class AdwarmPlugin(AirflowPlugin):
    """Registers adwarm with Airflow."""

    name = "adwarm"
    on_load = staticmethod(adwarm_airflow.check_core)
    fastapi_apps = [{"app": PageApp(), "url_prefix": PAGE_PREFIX, "name": "adwarm"}]  # noqa: RUF012 - read by Airflow
    external_views = list_views()
    listeners = [task_end]  # noqa: RUF012 - read by Airflow
    deadline_references = [WarmByDeadline]  # noqa: RUF012 - read by Airflow
    operator_extra_links = list(LINKS)  # noqa: RUF012 - read by Airflow
