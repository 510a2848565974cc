"""Removes secrets from text before it is recorded, logged or sent, by the rules that the client has as well.

They are the client's, which is installed without adwarm too; the rest of the package imports them from here.
"""

from adwarm_client.redaction import HIDDEN, MAX_CHARACTERS, describe_traceback, log_unexpected, redact

__all__ = ["HIDDEN", "MAX_CHARACTERS", "describe_traceback", "log_unexpected", "redact"]
