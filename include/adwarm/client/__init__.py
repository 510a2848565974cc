"""Reads adwarm's read API from Python: reports as DataFrames, fatigue scores, and the state of the system.

    with Client("https://adwarm.example.com", token) as client:
        frame = client.frame("act_1", "last_7d")

Importing it loads neither pandas nor a database driver.
"""

from adwarm.client.exchange import NotReady
from adwarm.client.http_clients import AsyncClient, Client
from adwarm.client.report_answer import ReportAnswer, ReportWarning

__all__ = ["AsyncClient", "Client", "NotReady", "ReportAnswer", "ReportWarning"]
