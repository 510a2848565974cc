"""Airflow adapters for the package `adwarm`: operators, triggers, tasks, connections, the window resolver."""


def check_core(*_args: object, **_kwargs: object) -> None:
    """Raise ImportError with advice when the package `adwarm` cannot be imported."""
    try:
        import adwarm
    except ImportError as error:
        raise ImportError("adwarm cannot be imported: add this project's include/ folder to PYTHONPATH") from error
    del adwarm
