"""The configuration of a simulated platform: accounts, tokens, time and behavior."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from graph_simulator.date_ranges import time_zone
from graph_simulator.error_responses import InvalidValue
from graph_simulator.fault_profile import FaultProfile

FIRST_ACCOUNT = 100_000_000_000_001
MAX_ADS = 8_000


@dataclass(frozen=True)
class SimulatorConfig:
    """The settings of a simulated platform. Equal settings give equal rows.

    Attributes:
        accounts: `any` (every well-formed account id exists), a number of accounts, or the account ids.
        ads: ads that run at the same time in a typical account; accounts vary by 25 % around it.
        token: the access token for all accounts that `tokens` does not assign to another one.
        tokens: more access tokens, each with the accounts that only it can read.
        app_secret: when set, every call needs the matching `appsecret_proof`.
        zone: IANA time zone of the accounts' days, or a zone by account id (UTC for the others).
        now: the moment at which the platform's clock starts; the machine's time when None.
        hourly_limit: insights calls per account in a rolling hour; no limit when None.
        latency_ms: minimum duration of a response, in milliseconds.
        empty_middle_pages: insert an empty page with a `next` link between any two pages.
        time_scale: platform seconds that pass in one real second.
        decoys: share of healthy ads, 0 to 1, that get a budget cut or a price rise, which looks like fatigue.
        fault_profile: limits, report latency, size limits and faults; no faults by default.

    Raises:
        InvalidValue: a setting is out of range, or a time zone does not exist.
    """

    accounts: Literal["any"] | int | tuple[str, ...] = "any"
    ads: int = 12
    seed: int = 7
    token: str = field(default="simulated-token", repr=False)
    tokens: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    app_secret: str | None = field(default=None, repr=False)
    zone: str | Mapping[str, str] = "UTC"
    now: datetime | None = None
    hourly_limit: int | None = None
    latency_ms: float = 0
    empty_middle_pages: bool = False
    time_scale: float = 1.0
    decoys: float = 0.0
    fault_profile: FaultProfile = field(default_factory=FaultProfile)

    def __post_init__(self) -> None:
        if not 1 <= self.ads <= MAX_ADS:
            raise InvalidValue(f"ads must be 1 to {MAX_ADS}, not {self.ads}")
        if self.seed < 0:
            raise InvalidValue(f"seed must be 0 or more, not {self.seed}")
        if not self.time_scale > 0:
            raise InvalidValue(f"time_scale must be more than 0, not {self.time_scale}")
        if not 0 <= self.decoys <= 1:
            raise InvalidValue(f"decoys must be 0 to 1, not {self.decoys}")
        for name in [self.zone] if isinstance(self.zone, str) else self.zone.values():
            time_zone(name)

    def account_ids(self) -> tuple[str, ...]:
        """Return the accounts that exist from the start; empty with `accounts="any"`."""
        if self.accounts == "any":
            return ()
        if isinstance(self.accounts, int):
            return tuple(f"act_{FIRST_ACCOUNT + index}" for index in range(self.accounts))
        return tuple(canonical_account(text) for text in self.accounts)

    def may_read(self, token: str, account: str) -> bool:
        """Whether a valid token may read `account` (canonical form). A token listed in `tokens` is exclusive."""
        owners = [owner for owner, accounts in self.tokens.items() if account in accounts]
        return token in owners if owners else token == self.token

    def zone_of(self, account: str) -> str:
        """Return the time zone in which `account` counts its days."""
        return self.zone if isinstance(self.zone, str) else self.zone.get(account, "UTC")


def canonical_account(text: str) -> str:
    """Return an account id in the form `act_` and digits; the prefix is optional in `text`.

    Raises:
        InvalidValue: it is not an account id.
    """
    digits = text.strip().removeprefix("act_")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 20):
        raise InvalidValue(f"{text[:60]!r} is not an account id; write act_ and up to 20 digits, such as act_1234")
    return f"act_{digits}"
