"""An ad account."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Account:
    """An ad account.

    Attributes:
        id: `act_` and digits.
        data_zone: IANA time zone of the account, in which its days and windows are counted.
        reader_zone: IANA time zone of its readers, in which opens are aggregated.
        currency: ISO code; empty for an account that only the access log names. Its data zone is then a guess.
        connection: name of the connection whose token reads it.
        status: `active`, `denied` or `closed`.
        name: what the platform calls it; empty where it has none.
        status_reason: why it is not simply active, for a human; empty when there is nothing to say.
    """

    id: str
    data_zone: str = "UTC"
    reader_zone: str = "UTC"
    currency: str = "USD"
    connection: str = "default"
    status: str = "active"
    name: str = field(default="", compare=False)
    status_reason: str = field(default="", compare=False)

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
        platform_reason: the reason for that status.
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
