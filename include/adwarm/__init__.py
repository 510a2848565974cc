"""adwarm keeps ad dashboards warm.

It learns from the access log when each account's report will be opened, fetches the report just before that
moment within the ad platform's limits, keeps it compressed and verified, scores ad fatigue, and serves it.
The package imports no Airflow; `dags/` and `plugins/` are thin shells around it.
"""

__version__ = "0.1.0"
