"""What a token lets its holder do: scopes, accounts and priority of one request."""

from adwarm.model import AccessToken, Priority, ReportKey, TokenScope, normalize_account_id
from adwarm.serving.problems import forbidden, unknown_report
from adwarm.settings import Settings


def require_scope(token: AccessToken, scope: TokenScope) -> None:
    """Check that a token has a scope.

    Raises:
        Problem: 403, it has not.
    """
    if not token.allows(scope):
        raise forbidden(
            f"this token lacks the scope `{scope}`; an administrator makes one with it: adwarm token create"
        )


def check_account(token: AccessToken, account: str) -> str:
    """Return the canonical id of an account that the token may read.

    Nothing is looked up, so that the answer says nothing about accounts outside the token's list.

    Raises:
        BadRequest: the id is not valid.
        Problem: 404, the token may not read it; the same as for an unknown account.
    """
    account_id = normalize_account_id(account)
    if not token.may_read(account_id):
        raise unknown_report()
    return account_id


def list_accounts(token: AccessToken) -> frozenset[str] | None:
    """Return the accounts that a token may read; None for all."""
    return None if token.allows(TokenScope.ADMIN) else token.accounts


def check_key(token: AccessToken, account: str, date_range: str, report: str, settings: Settings) -> ReportKey:
    """Return the report key of external input that the token may read.

    Raises:
        BadRequest: a part is not valid; the message says which one and what to write.
        Problem: 404, there is no such report, or the token may not read the account.
    """
    key = ReportKey.parse(account, date_range, report)
    if key.report not in settings.reports or not token.may_read(key.account_id):
        raise unknown_report()
    return key


def cut_priority(token: AccessToken, priority: Priority) -> Priority:
    """Return `priority`, or the token's highest when it is more urgent than that."""
    return max(priority, token.highest_priority)
