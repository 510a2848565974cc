"""What to do about an alert, in one sentence by kind."""

from typing import Final

_STEPS: Final = {
    "TokenDead": "Renew the access token in the connection {connection}; stored reports are served until then.",
    "Blocked": (
        "Open the app in the platform's developer tools and end the block of the connection {connection}; calls pause "
        "until then."
    ),
    "Throttled": (
        "Wait until the pause ends, which needs no action. If it returns daily, lower the budgets of the strategies; "
        "`adwarm status` shows who is parked until when."
    ),
    "Denied": (
        "Ask the owner of the account to assign it to the user of the token, then run "
        "`adwarm gate open account:ACCOUNT`; leave it denied if it is no longer needed."
    ),
    "TooMuchData": (
        "Choose fewer fields or a lower level for the report (ADWARM_REPORTS): one day of the account is more than the "
        "platform returns."
    ),
    "Corrupt": (
        "Damaged data is fetched again by itself. Run `adwarm verify`; if more is damaged, check the disk or the "
        "object store."
    ),
    "Transient": (
        "Check that the platform responds, and this machine's network; calls are tried again by themselves, and stored "
        "reports are served."
    ),
    "ConnectionError": "Check this machine's network and proxy; calls are tried again by themselves.",
    "TimeoutError": "Check this machine's network; if the platform is only slow, raise ADWARM_SOURCE__READ_TIMEOUT.",
    "StorageError": "Repair the disk or the database that the message names; `adwarm doctor` checks both.",
    "OSError": "Check that the disk has space and that adwarm may write its folders; `adwarm doctor` names them.",
    "BadRequest": "Correct the setting or the report that the message names; the same call fails until then.",
    "NotFound": "Check that the account or the object still exists; `adwarm accounts discover` lists the accounts.",
    "OverlongPark": (
        "Check in the platform's own tools whether the app is limited. If the pause is a fault, `adwarm status` shows "
        "the scope, which is called again after the longest pause."
    ),
    "OrphanReport": (
        "Nothing is lost: the report is requested again. If this repeats, look for workers that are killed, for "
        "example for lack of memory."
    ),
    "ForecastSnapshot": (
        "The previous forecast is used. Run `adwarm verify`, then the DAG adwarm_access_patterns to train a new one."
    ),
    "Isolated": (
        "Look at the error behind it: `adwarm errors` lists it. It is used again by itself when its probes succeed; "
        "`adwarm status` shows until when."
    ),
    "Reconciliation": (
        "Compare the figures that the message names with the platform's own page; `adwarm verify` checks stored days."
    ),
    "WarmingLate": (
        "Open the run in Airflow and look at its first failed or running task; `adwarm status` shows what is limited."
    ),
}
_DEFAULT: Final = "Look at the errors with `adwarm errors --kind {kind}`; `adwarm doctor` checks the installation."


def get_next_step(kind: str, connection: str) -> str:
    """Return what to do about errors of a kind; `connection` is the one that the calls used."""
    return _STEPS.get(kind, _DEFAULT).format(kind=kind, connection=connection)
