"""The Celery that the lock installs is one that Airflow's provider works with."""

import importlib


def test_the_executor_loads_with_the_locked_celery() -> None:
    """The module of scheduler and worker that imports Celery's own names loads."""
    executor = importlib.import_module("airflow.providers.celery.executors.celery_executor")

    assert executor.app.main == "airflow.providers.celery.executors.celery_executor"
