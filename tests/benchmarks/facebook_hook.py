"""Airflow's own Facebook hook, asked for the storm's rows in a process that may be ended: `python -m ... QUESTION`.

Every account that comes through is a line of the file that the question names; so is every one that failed for good.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

FIELDS = (
    "account_id",
    "campaign_id",
    "adset_id",
    "ad_id",
    "ad_name",
    "impressions",
    "reach",
    "frequency",
    "clicks",
    "inline_link_clicks",
    "ctr",
    "cpm",
    "cpc",
    "spend",
    "actions",
    "cost_per_action_type",
)


def main(question: dict[str, Any]) -> None:
    """Ask, in one call for all accounts or in one for each."""
    from facebook_business.session import FacebookSession

    FacebookSession.GRAPH = question["url"]
    with Path(question["found"]).open("a", encoding="utf-8") as found:
        if question["tries"]:
            for account in question["accounts"]:
                _one(question, account, found)
        else:
            for account, rows in _asked(question, question["accounts"]).items():
                _tell(found, account=account, rows=[dict(row) for row in rows])


def _one(question: dict[str, Any], account: str, found: Any) -> None:
    error = ""
    for _ in range(question["tries"]):
        try:
            rows = _asked(question, account)
        except Exception as failed:
            error = f"{type(failed).__name__}: {str(failed)[:200]}"
            time.sleep(question["sleep"])
        else:
            _tell(found, account=account, rows=[dict(row) for row in rows])
            return
    _tell(found, account=account, error=error)


def _asked(question: dict[str, Any], account: Any) -> Any:
    from airflow.providers.facebook.ads.hooks.ads import FacebookAdsReportingHook

    extra = {"app_id": "1", "app_secret": "1", "access_token": "simulated-token", "account_id": account}
    os.environ["AIRFLOW_CONN_FACEBOOK_DEFAULT"] = json.dumps({"conn_type": "facebook_social", "extra": extra})
    params = {
        "level": "ad",
        "time_increment": 1,
        "time_range": {"since": question["since"], "until": question["until"]},
    }
    hook = FacebookAdsReportingHook(api_version="v26.0")
    return hook.bulk_facebook_report(params, list(FIELDS), sleep_time=question["sleep"])


def _tell(found: Any, **said: Any) -> None:
    found.write(json.dumps(said) + "\n")
    found.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
