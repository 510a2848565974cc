"""The life of the token: what the platform tells the app about it, and a longer one in exchange.

As on the platform, `debug_token` is a GET that only the token of the app may make, `app_id|app_secret`; without an app
secret the simulator lets a token ask about itself, as that of an app's developer can.
"""

from datetime import datetime, timedelta
from typing import Any

from graph_simulator.calls import Call
from graph_simulator.config import SimulatorConfig
from graph_simulator.error_responses import GraphError, bad_parameter, missing_object
from graph_simulator.fault_profile import TokenSetting

DEBUG, EXCHANGE = ("debug_token",), ("oauth", "access_token")
EXTENDED = timedelta(days=60)
_EXPIRED = "Error validating access token: Session has expired."


def check_life(call: Call, setting: TokenSetting, now: datetime) -> None:
    """Check that the token has not ended.

    Raises:
        GraphError: it has.
    """
    if setting.expires_at is not None and now >= setting.expires_at and call.parts != DEBUG:
        raise GraphError(_EXPIRED, code=190, subcode=463)


def debug_body(call: Call, config: SimulatorConfig, setting: TokenSetting, now: datetime) -> dict[str, Any]:
    """Return what is known of the token `input_token`.

    Raises:
        GraphError: the call is no GET, or not made by the app.
    """
    if call.verb != "GET":
        raise missing_object("debug_token", call.verb)
    app, _, secret = call.token.partition("|")
    asks_itself = config.app_secret is None and call.token == config.token
    if not asks_itself and (not app or config.app_secret is None or secret != config.app_secret):
        raise bad_parameter(
            "You must provide an app access token, or a user access token that is an owner or developer of the app"
        )
    valid = call.params.get("input_token") == config.token and (setting.expires_at is None or now < setting.expires_at)
    data = {
        "app_id": app,
        "type": setting.kind,
        "application": "Simulated app",
        "expires_at": _seconds(setting.expires_at),
        "data_access_expires_at": _seconds(setting.data_access_until),
        "is_valid": valid,
        "scopes": ["ads_read"],
    }
    return {"data": data if valid else data | {"error": {"code": 190, "message": _EXPIRED, "subcode": 463}}}


def exchange(call: Call, config: SimulatorConfig) -> str:
    """Return the longer token for `fb_exchange_token`.

    Raises:
        GraphError: the app or the token is not the right one.
    """
    if call.params.get("client_secret") != config.app_secret or call.params.get("fb_exchange_token") != config.token:
        raise GraphError("Error validating client secret.", code=1)
    return f"{config.token}-extended"


def _seconds(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp())
