"""An ad account."""

from dataclasses import dataclass


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
    """

    id: str
    data_zone: str = "UTC"
    reader_zone: str = "UTC"
    currency: str = "USD"
    connection: str = "default"
    status: str = "active"

    @property
    def is_verified(self) -> bool:
        """Whether zone and currency come from the upstream."""
        return bool(self.currency)
