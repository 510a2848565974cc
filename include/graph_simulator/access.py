"""Who may ask: the version must be spoken, the token known, and its proof right."""

import hashlib
import hmac

from graph_simulator.call import Call
from graph_simulator.config import SimulatorConfig
from graph_simulator.errors import GraphError, token_missing
from graph_simulator.faults.kinds import REFUSING, FaultKind, error_of

VERSIONS = ("v26.0", "v25.0")


def check_access(call: Call, config: SimulatorConfig) -> None:
    """Let a call in.

    Raises:
        GraphError: its version, token or proof is not accepted, or a fault refuses it.
    """
    if call.version not in VERSIONS:
        raise GraphError(
            f"(#2635) You are calling a deprecated version of the Ads API. Please update to {VERSIONS[0]}.",
            code=2635,
        )
    if not call.token:
        raise token_missing(call.parts[0] if call.parts else "")
    if not any(hmac.compare_digest(call.token.encode(), known.encode()) for known in (config.token, *config.tokens)):
        raise GraphError("Error validating access token: Session has expired or is not valid.", code=190, subcode=463)
    if config.app_secret is not None:
        _check_proof(call, config.app_secret)
    refusing = call.fired.first(REFUSING)
    if refusing is not None:
        raise error_of(refusing.kind, name=call.parts[0] if call.parts else "", subcode=refusing.subcode)


def check_account(call: Call, account: str, config: SimulatorConfig) -> None:
    """Let a call about `account` pass.

    Raises:
        GraphError: another token reads the account.
    """
    if not config.may_read(call.token, account):
        raise error_of(FaultKind.DENIED)


def _check_proof(call: Call, secret: str) -> None:
    proof = hmac.new(secret.encode(), call.token.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(call.params.get("appsecret_proof", "").encode(), proof.encode()):
        raise GraphError("Invalid appsecret_proof provided in the API argument", code=100, kind="GraphMethodException")
