"""Reads adwarm's read API from Python: reports as DataFrames, fatigue scores, and the state of the system.

    with Client("https://adwarm.example.com", token) as client:
        frame = client.frame("act_1", "last_7d")

Importing it loads neither pandas nor Airflow; `frame()` needs pandas, the extra `frame`.
"""

from adwarm_client.errors import (
    AdwarmError,
    BadRequest,
    Corrupt,
    Denied,
    NotFound,
    Refused,
    TokenDead,
    TooMuchData,
    Transient,
)
from adwarm_client.exchange import NotReady
from adwarm_client.http_clients import AsyncClient, Client
from adwarm_client.keys import ReportKey
from adwarm_client.report_answer import ReportAnswer, ReportWarning

__version__ = "0.1.0"
__all__ = [
    "AdwarmError",
    "AsyncClient",
    "BadRequest",
    "Client",
    "Corrupt",
    "Denied",
    "NotFound",
    "NotReady",
    "Refused",
    "ReportAnswer",
    "ReportKey",
    "ReportWarning",
    "TokenDead",
    "TooMuchData",
    "Transient",
    "__version__",
]
