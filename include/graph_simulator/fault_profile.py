"""Fault profiles: what a simulated platform limits and how it misbehaves, from a TOML file or the control route.

Parts that are left out have no effect: no quota but `hourly_limit`, no size limits, no faults. All times are seconds of
the platform's clock.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from graph_simulator.error_responses import InvalidValue
from graph_simulator.fault_kinds import FaultKind, Route


class ProfilePart(BaseModel):
    """Base of the parts of a fault profile: immutable, and strict about unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


_Part = TypeVar("_Part", bound=ProfilePart)


class QuotaSetting(ProfilePart):
    """The limits of an account's rolling hour, and of the app.

    Attributes:
        base_calls: insights calls per hour before ads are added; the number of the tier when None.
        calls_per_ad: calls per hour that each active ad adds.
        cpu_seconds: CPU time that an account may use in an hour.
        wall_seconds: wall time that an account may use in an hour.
        penalty_seconds: by how much each call during a block extends it.
        longest_block_seconds: how far in the future penalties can move the end of a block.
        score: whether the score limiter of the account is on (a read costs 1 point, a write 3).
        app_calls: calls per hour of the whole app; no limit when None.
        shed_cpu_per_minute: CPU seconds per minute above which calls of the app are shed; never when None.
        headers_above: usage in percent below which usage headers are left out, except the insights throttle.
        throttle_half_life_seconds: half-life of the reported insights throttle once usage falls; 0: it falls at once.
    """

    tier: Literal["development_access", "standard_access"] = "standard_access"
    base_calls: int | None = Field(default=None, ge=1)
    calls_per_ad: int = Field(default=400, ge=0)
    cpu_seconds: float = Field(default=3_600, gt=0)
    wall_seconds: float = Field(default=7_200, gt=0)
    penalty_seconds: float = Field(default=60, ge=0)
    longest_block_seconds: float = Field(default=7_200, gt=0)
    score: bool = True
    app_calls: int | None = Field(default=None, ge=1)
    shed_cpu_per_minute: float | None = Field(default=None, gt=0)
    headers_above: float = Field(default=2.0, ge=0)
    throttle_half_life_seconds: float = Field(default=0.0, ge=0)


class ReportSetting(ProfilePart):
    """How long asynchronous reports take: `base_seconds` plus a time per 1,000 cells (rows times fields).

    Attributes:
        spread: standard deviation of the logarithm of the duration; 0: no randomness.
        longest_seconds: upper bound of the duration.
        visible_after_seconds: age below which a run is reported as missing.
        full_seconds: how long a run stays at `Job Running` with 100 %.
        keep_days: age at which a run expires.
    """

    base_seconds: float = Field(default=6, ge=0)
    seconds_per_1000_cells: float = Field(default=0.5, ge=0)
    spread: float = Field(default=0.35, ge=0)
    longest_seconds: float = Field(default=3_600, gt=0)
    visible_after_seconds: float = Field(default=0, ge=0)
    full_seconds: float = Field(default=1, ge=0)
    keep_days: int = Field(default=30, ge=1)


class SizeSetting(ProfilePart):
    """Size limits; no limit where a value is None.

    Attributes:
        page_cells: cells (rows times weighted fields) of a page above which the response is "reduce the amount".
        sync_rows: rows of a synchronous query above which it must be split.
        async_rows: rows above which a report run fails.
    """

    page_cells: int | None = Field(default=None, ge=1)
    sync_rows: int | None = Field(default=None, ge=1)
    async_rows: int | None = Field(default=None, ge=1)


class UseCase(ProfilePart):
    """An extra entry of the business-use-case header, sent as it is.

    Attributes:
        object: the business or account that the entry is about; the account of the call when None.
    """

    type: str = "ads_management"
    object: str | None = None
    call_count: int = Field(default=100, ge=0)
    total_cputime: int = Field(default=0, ge=0)
    total_time: int = Field(default=0, ge=0)
    estimated_time_to_regain_access: int = Field(default=0, ge=0)


class UsageSetting(ProfilePart):
    """Fixed usage figures that replace the real ones in every response; None keeps the real figure.

    Attributes:
        accounts: the accounts it applies to, in canonical form; all when empty.
        acc_id_util_pct: usage of the account's score, and of the insights throttle on insights responses.
        app_id_util_pct: usage of the app in the insights throttle.
        reset_time_duration: seconds until the account's score is reset.
        use_case: extra entries of the business-use-case header.
    """

    accounts: frozenset[str] = frozenset()
    acc_id_util_pct: float | None = Field(default=None, ge=0)
    app_id_util_pct: float | None = Field(default=None, ge=0)
    reset_time_duration: int | None = Field(default=None, ge=0)
    use_case: tuple[UseCase, ...] = ()


class Poison(ProfilePart):
    """An ad or a field that makes every query about it fail, in one account or in all.

    Attributes:
        slot: the slot of ads; unlike an id it is known before the data is generated.
        refusal: the text with which a query of the field is refused, as one that a version has dropped.
    """

    account: str | None = None
    ad: str | None = None
    slot: int | None = Field(default=None, ge=0)
    field: str | None = None
    refusal: str = ""

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if [self.ad, self.slot, self.field].count(None) != 2:
            raise ValueError("a poison names one of ad, slot and field")
        return self


class FalseSum(ProfilePart):
    """Wrong totals: every additive figure of some answers is multiplied by `factor`.

    Attributes:
        level: the level of the queries that it falsifies; every level when None.
        account: the account whose answers are falsified; all when None.
        metric: the figure that it falsifies; every additive one when None.
        reports: whether it falsifies the rows of reports (True), of plain queries (False), or both (None).
        group: the group of a breakdown that it falsifies, such as `instagram`; every row when None. With the factor 0
            the group is left out.
        breakdown: the breakdown whose answers it falsifies, and no others; with the factor 0 they are empty, as for an
            account that never switched it on.
    """

    factor: float = Field(ge=0)
    level: Literal["account", "campaign", "adset", "ad"] | None = None
    account: str | None = None
    metric: Literal["purchases", "leads"] | None = None
    reports: bool | None = None
    group: str | None = None
    breakdown: str | None = None

    def falsifies(self, account: str, level: str, breakdowns: tuple[str, ...], *, is_report: bool) -> bool:
        """Whether it applies to the rows of a query."""
        return (
            self.account in {None, account}
            and self.level in {None, level}
            and self.breakdown in {None, *breakdowns}
            and (self.reports is None or self.reports == is_report)
        )


class FaultRule(ProfilePart):
    """One fault: what happens, to which calls, and when.

    Attributes:
        rate: probability, 0 to 1, that a matching call is hit.
        every: hit only every n-th matching call.
        after_calls: matching calls that pass first.
        calls: matching calls after those, after which the fault ends.
        after_seconds: seconds from setting the profile to the start of the fault.
        for_seconds: seconds that it lasts from there.
        accounts: the accounts it can hit, in canonical form; all when empty.
        routes: the routes it can hit; all that suit the kind when empty.
        seconds: duration of a slow body in real seconds, clock skew, or `Retry-After`.
    """

    kind: FaultKind
    rate: float = Field(default=1.0, ge=0, le=1)
    every: int = Field(default=1, ge=1)
    after_calls: int = Field(default=0, ge=0)
    calls: int | None = Field(default=None, ge=1)
    after_seconds: float = Field(default=0, ge=0)
    for_seconds: float | None = Field(default=None, gt=0)
    accounts: frozenset[str] = frozenset()
    routes: frozenset[Route] = frozenset()
    seconds: float = 10
    subcode: int = 463


class TokenSetting(ProfilePart):
    """When the token ends, and its access to data; never where a value is None.

    Attributes:
        kind: what the platform calls it, such as `SYSTEM_USER` or `USER`.
    """

    expires_at: AwareDatetime | None = None
    data_access_until: AwareDatetime | None = None
    kind: str = "SYSTEM_USER"


class VersionSetting(ProfilePart):
    """Versions of the API that the platform has retired.

    Attributes:
        retired: they are refused.
        upgrades: they are answered by the oldest version that lives, with a warning, instead of refused.
    """

    retired: frozenset[str] = frozenset()
    upgrades: bool = False


class PlatformSetting(ProfilePart):
    """What the table `platform` of a file sets beside the fault profile; it holds from the start to the end.

    Attributes:
        zone: IANA time zone of the accounts' days.
        latency_ms: minimum duration of a response, in milliseconds.
        time_scale: platform seconds that pass in one real second.
        decoys: share of healthy ads, 0 to 1, that only look fatigued.
    """

    zone: str = "UTC"
    latency_ms: float = Field(default=0, ge=0)
    time_scale: float = Field(default=1, ge=0.001)
    decoys: float = Field(default=0, ge=0, le=1)


class FaultProfile(ProfilePart):
    """Everything about a platform's behavior that is not its data. Equal profiles hit equal calls."""

    seed: int = Field(default=7, ge=0)
    quota: QuotaSetting | None = None
    usage: UsageSetting = UsageSetting()
    reports: ReportSetting = ReportSetting()
    size: SizeSetting = SizeSetting()
    token: TokenSetting = TokenSetting()
    version: VersionSetting = VersionSetting()
    poison: tuple[Poison, ...] = ()
    false_sum: tuple[FalseSum, ...] = ()
    fault: tuple[FaultRule, ...] = ()


def parse_fault_profile(values: Any, name: str) -> FaultProfile:
    """Return the fault profile that parsed TOML or JSON describes.

    Args:
        name: what error messages call the document.

    Raises:
        InvalidValue: the document is not a fault profile; the message says where it is wrong, and why.
    """
    return _parse(FaultProfile, values, name)


def _parse(model: type[_Part], values: Any, name: str) -> _Part:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        location = ".".join(str(part) for part in first["loc"])
        raise InvalidValue(f"{name}: {location or 'the file'}: {first['msg']}") from None


def load_platform_file(path: Path) -> tuple[PlatformSetting, FaultProfile]:
    """Read the table `platform` and the fault profile of a TOML file.

    Raises:
        InvalidValue: the file cannot be read, is not TOML, or holds something else.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidValue(f"{path} cannot be read ({error.strerror}); --faults takes a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{path} is not TOML: {error}") from None
    platform = _parse(PlatformSetting, values.pop("platform", {}), f"{path}: platform")
    return platform, parse_fault_profile(values, str(path))
