"""The Airflow DAG that drains the request queue: when it runs, and how a process without a credential triggers it."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import HttpUrl, SecretStr

from adwarm.foundation.clock import floor_to
from adwarm.foundation.errors import Transient
from adwarm.foundation.redaction import redact

if TYPE_CHECKING:
    import httpx

DAG_ID: Final = "adwarm_request_queue"
INTERVAL: Final = timedelta(minutes=5)
"""How often the DAG runs where nothing starts it earlier."""
_TIMEOUT_SECONDS = 10.0
_ADVICE = {
    401: "renew ADWARM_SERVING__AIRFLOW_TOKEN",
    403: "the user of ADWARM_SERVING__AIRFLOW_TOKEN may not trigger it",
    404: "check ADWARM_SERVING__AIRFLOW_URL, and that the DAG is deployed",
}


def next_run(now: datetime) -> datetime:
    """Return when the DAG runs next by its schedule, UTC."""
    return floor_to(now, INTERVAL) + INTERVAL


class DagTrigger:
    """Starts a run of the DAG through Airflow's REST API.

    Args:
        url: Airflow's base URL.
        token: token of its API.
        transport: replaces the network, for tests.
    """

    def __init__(self, url: HttpUrl, token: SecretStr, transport: "httpx.BaseTransport | None" = None) -> None:
        self._url = f"{str(url).rstrip('/')}/api/v2/dags/{DAG_ID}/dagRuns"
        self._token = token
        self._transport = transport

    def __call__(self) -> None:
        """Start a run.

        Raises:
            Transient: Airflow did not accept it; the message says what to do and contains no secret.
        """
        import httpx

        secret = self._token.get_secret_value()
        headers = {"Authorization": f"Bearer {secret}", "Accept": "application/json"}
        try:
            # A redirect could carry the token to another host.
            with httpx.Client(timeout=_TIMEOUT_SECONDS, transport=self._transport, follow_redirects=False) as client:
                response = client.post(self._url, json={"logical_date": None}, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            reason = redact(f"{type(error).__name__}: {error}", [secret], hide_urls=True)
            raise Transient(f"Airflow cannot be reached ({reason}); check ADWARM_SERVING__AIRFLOW_URL") from None
        if not response.is_success:
            advice = _ADVICE.get(response.status_code, "see the log of Airflow's API server")
            raise Transient(f"Airflow answered {response.status_code} to a run of {DAG_ID}; {advice}")
