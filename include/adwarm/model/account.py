"""An ad account as the house knows it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Account:
    """An ad account.

    Attributes:
        id: `act_` and digits.
        data_zone: IANA zone of the account; its days and windows are counted there.
        reader_zone: IANA zone its readers live in; opens are learned there.
        currency: ISO code; empty for an account seen in the log alone, whose data zone is then a guess.
        connection: name of the connection whose token may read it.
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
        """Whether the upstream itself has told the account's zone and currency."""
        return bool(self.currency)
