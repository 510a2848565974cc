"""Which log counts the opens of each account: the user's, adwarm's own open log, or both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from adwarm.store import Context, accounts

OpensFrom = Literal["user", "adwarm", "both"]


@dataclass(frozen=True, slots=True)
class OpenSources:
    """The choice of the settings, and that of accounts which have their own.

    Attributes:
        default: for accounts without a choice.
        by_account: by account id.
    """

    default: OpensFrom = "both"
    by_account: Mapping[str, OpensFrom] = field(default_factory=dict)

    @classmethod
    def load(cls, context: Context) -> "OpenSources":
        """Return the choices as they are now. Without a log of the user's, all opens come from the open log."""
        chosen = cast("dict[str, OpensFrom]", accounts.get_opens_from(context.engine))
        return cls(context.settings.access_log.opens_from, chosen)

    @property
    def reads_user_log(self) -> bool:
        """Whether any account's opens may come from the user's log."""
        return self._any_but("adwarm")

    @property
    def reads_open_log(self) -> bool:
        """Whether any account's opens may come from the open log."""
        return self._any_but("user")

    @property
    def splits_user_log(self) -> bool:
        """Whether opens of some accounts in the user's log do not count."""
        return "adwarm" in {self.default, *self.by_account.values()}

    def choose(self, account_id: str) -> OpensFrom:
        """Return whose log counts the opens of an account."""
        return self.by_account.get(account_id, self.default)

    def select(self, account_ids: Iterable[str], source: Literal["user", "adwarm"]) -> list[bool]:
        """Return for each account whether its opens in the log of `source` count."""
        return [self.choose(account_id) in {source, "both"} for account_id in account_ids]

    def _any_but(self, choice: str) -> bool:
        return any(value != choice for value in (self.default, *self.by_account.values()))
