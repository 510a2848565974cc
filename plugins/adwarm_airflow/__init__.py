"""Airflow's side of adwarm: operators, connections, the window resolver. Thin classes over the package `adwarm`."""


def check_core(*_args: object, **_kwargs: object) -> None:
    """Fail with a message that helps when the core is not importable."""
    try:
        import adwarm
    except ImportError as error:
        raise ImportError("adwarm cannot be imported: add this project's include/ folder to PYTHONPATH") from error
    del adwarm
