"""Airbyte's connector for Facebook Marketing with another platform address: `python airbyte.py URL COMMAND ...`.

Nothing else is changed except the pause between two polls of its reports.
"""

import sys

from facebook_business.session import FacebookSession
from source_facebook_marketing.run import run
from source_facebook_marketing.streams.async_job_manager import InsightAsyncJobManager

if __name__ == "__main__":
    FacebookSession.GRAPH = sys.argv.pop(1)
    InsightAsyncJobManager.JOB_STATUS_UPDATE_SLEEP_SECONDS = 0.5
    run()
