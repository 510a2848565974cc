"""The command line: the same rooms as the DAGs use, without Airflow."""

from adwarm.cli.app import main

__all__ = ["main"]
