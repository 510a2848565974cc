"""Ad accounts, when their reports are opened, and the tokens that read them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from adwarm_client.keys import Actor, Priority

NO_CURRENCY = "XXX"
"""The ISO code of an account without a currency, such as a dashboard."""
ALL_ACCOUNTS = "all"
"""The account id of a profile over all accounts."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Account:
    """An ad account.

    Attributes:
        id: what its platform calls it, see `normalize_account_id`.
        data_zone: IANA time zone of the account, in which its days and windows are counted.
        reader_zone: IANA time zone of its readers, in which opens are aggregated.
        currency: ISO code; empty for an account that only the access log names. Its data zone is then a guess.
        connection: name of the connection whose token reads it.
        status: `active`, `denied` or `closed`.
        name: what the platform calls it; empty where it has none.
        status_reason: why it is not simply active, for a human; empty when there is nothing to say.
        confirmed_at: when the upstream last said so, in a list of accounts or by itself; None when it is not stored.
    """

    id: str
    data_zone: str = "UTC"
    reader_zone: str = "UTC"
    currency: str = "USD"
    connection: str = "default"
    status: str = "active"
    name: str = field(default="", compare=False)
    status_reason: str = field(default="", compare=False)
    confirmed_at: datetime | None = field(default=None, compare=False)

    @property
    def is_verified(self) -> bool:
        """Whether zone and currency come from the upstream."""
        return bool(self.currency)


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """A stored account with what its user has set and when discovery saw it.

    Attributes:
        account: the account as it is used: what the user has set replaces what the platform says.
        platform_status: the status without the user's: `active`, `denied` or `closed`.
        platform_connection: the connection without the user's choice.
        updated_at: when its status was last written.
        last_seen: when discovery last found it in the list of a connection; None if never.
        user_reader_zone: the reader zone that the user has set; empty when none.
        user_status: the status that the user has set, `active` or `closed`; empty when none.
        user_connection: the connection that the user has chosen; empty when none.
        holiday_country: ISO code of the country whose holidays its readers have; empty: that of their time zone.
        opens_from: whose log counts its opens, as the user has set it: `user`, `adwarm` or `both`; empty when not set.
        denials: by connection, the credential that was denied less than a day ago.
    """

    account: Account
    platform_status: str
    platform_reason: str
    platform_connection: str
    updated_at: datetime
    last_seen: datetime | None = None
    user_reader_zone: str = ""
    user_status: str = ""
    user_connection: str = ""
    holiday_country: str = ""
    opens_from: str = ""
    denials: dict[str, str] = field(default_factory=dict)


class TokenScope(StrEnum):
    """What a token allows.

    `read` returns what is stored and never causes an upstream call. `enqueue` also requests what is missing or old.
    `admin` also shows the state of the whole system, and may read every account.
    """

    READ = "read"
    ENQUEUE = "enqueue"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token of the read API, without its secret."""

    id: Annotated[str, 16, "Public id, the first part of the token."]
    name: Annotated[str, 80, "What the token is for."]
    scopes: Annotated[frozenset[TokenScope], "List of `read`, `enqueue`, `admin`."]
    accounts: Annotated[frozenset[str] | None, "Accounts it may read; None for all."] = None
    actor: Annotated[Actor, "Who opens reports with it, unless a trusted backend names another."] = Actor.HUMAN
    is_trusted: Annotated[bool, "Whether its holder may name the actor of each request, with `Adwarm-Actor`."] = False
    highest_priority: Annotated[Priority, "Most urgent class its requests may have."] = Priority.NORMAL
    daily_new_keys: Annotated[int, "Report keys that it may request in a UTC day and that were never stored."] = 100
    daily_refetches: Annotated[int, "Fetches of stored reports that it may cause in a UTC day."] = 1_000
    rate_per_second: Annotated[float | None, "Requests per second; None for the setting's."] = None
    created_at: Annotated[datetime, "When it was made."]
    expires_at: Annotated[datetime | None, "When it stops working; None for never."] = None
    revoked_at: Annotated[datetime | None, "When it was revoked; None while it is not."] = None

    def is_valid(self, at: datetime) -> bool:
        """Whether it is neither revoked nor expired at `at`."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)

    def allows(self, scope: TokenScope) -> bool:
        """Whether it has the scope; `admin` includes the others, and `enqueue` includes `read`."""
        if TokenScope.ADMIN in self.scopes or scope in self.scopes:
            return True
        return scope is TokenScope.READ and TokenScope.ENQUEUE in self.scopes

    def names(self, account_id: str) -> bool:
        """Whether the account is on its list; a token without one names none."""
        return self.accounts is not None and account_id in self.accounts

    def may_read(self, account_id: str) -> bool:
        """Whether the account is on its list, or it has none."""
        return self.accounts is None or account_id in self.accounts or TokenScope.ADMIN in self.scopes
