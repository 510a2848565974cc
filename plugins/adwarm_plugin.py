"""Registers adwarm where Airflow finds this folder and adwarm is not installed, only on PYTHONPATH.

An installed distribution, also an editable one, registers the plugin itself. Airflow reports a second plugin of the
same name as an import error, so this file then registers none.
"""

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="adwarm"):
    try:
        from adwarm_airflow.plugin import AdwarmPlugin  # noqa: F401 - read by Airflow
    except ImportError as error:
        raise ImportError(
            "adwarm_airflow cannot be imported: PYTHONPATH must hold this project's folders include/, plugins/ and "
            "clients/python/ on every Airflow service"
        ) from error
