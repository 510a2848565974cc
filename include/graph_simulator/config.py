"""What a simulated platform looks like: who exists there, what time it is, and how it behaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone
from adwarm.model import normalize_account_id
from graph_simulator.fault_profile import Storm

FIRST_ACCOUNT = 100_000_000_000_001
MAX_ADS = 8_000


@dataclass(frozen=True)
class SimulatorConfig:
    """A simulated platform; equal configurations give equal rows.

    Attributes:
        accounts: `any` lets every well-formed account exist; a number makes that many; or the ids themselves.
        ads: ads that run at the same time in a typical account; accounts differ by a quarter either way.
        token: the access token that reads every account but those that `tokens` keep to themselves.
        tokens: further tokens, and the accounts that each of them, and no other, reads.
        app_secret: when set, every call must carry the matching `appsecret_proof`.
        zone: IANA zone of the accounts' days, or a zone by account id (others are in UTC).
        now: the moment the platform's clock starts from; the machine's time when absent.
        hourly_limit: insights calls an account may make in a rolling hour.
        latency_ms: how long every answer takes at least.
        empty_middle_pages: put an empty page, which still names a next one, between any two pages.
        time_scale: how many seconds of the platform's clock pass in one real second.
        decoys: share of the healthy ads that only seem to tire: their budget was cut, or the auction became dearer.
        storm: limits, latency of reports, size law and faults; calm when absent.
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
    storm: Storm = field(default_factory=Storm)

    def __post_init__(self) -> None:
        if not 1 <= self.ads <= MAX_ADS:
            raise BadRequest(f"ads must be 1 to {MAX_ADS}, not {self.ads}")
        if self.seed < 0:
            raise BadRequest(f"seed must be 0 or more, not {self.seed}")
        if not self.time_scale > 0:
            raise BadRequest(f"time_scale must be more than 0, not {self.time_scale}")
        if not 0 <= self.decoys <= 1:
            raise BadRequest(f"decoys must be 0 to 1, not {self.decoys}")
        for name in [self.zone] if isinstance(self.zone, str) else self.zone.values():
            zone(name)

    def account_ids(self) -> tuple[str, ...]:
        """The accounts that exist from the start; none when any account does."""
        if self.accounts == "any":
            return ()
        if isinstance(self.accounts, int):
            return tuple(f"act_{FIRST_ACCOUNT + index}" for index in range(self.accounts))
        return tuple(normalize_account_id(text) for text in self.accounts)

    def may_read(self, token: str, account: str) -> bool:
        """Whether a token that is accepted reads `account`, given in canonical form."""
        owners = [owner for owner, accounts in self.tokens.items() if account in accounts]
        return token in owners if owners else token == self.token

    def zone_of(self, account: str) -> str:
        """The zone in which `account` counts its days."""
        return self.zone if isinstance(self.zone, str) else self.zone.get(account, "UTC")
