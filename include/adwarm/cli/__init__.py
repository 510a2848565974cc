"""The command line, one module per command. It calls the same functions as the DAGs and needs no Airflow."""

from adwarm.cli.app import main

__all__ = ["main"]
