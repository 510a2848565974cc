"""How a simulated platform misbehaves and what it allows, as values: read from a TOML file or from the control route.

Absent parts leave the platform calm: no quota but `hourly_limit`, no size law, no faults. All times are seconds of the
platform's own clock.
"""

import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from graph_simulator.fault_kinds import FaultKind, Route
from graph_simulator.graph_errors import InvalidValue


class Part(BaseModel):
    """A part of a storm: immutable, and no word too many."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class QuotaSetting(Part):
    """The limits of a rolling hour and of the app.

    Attributes:
        base_calls: insights calls per hour before ads are added; the tier's own number when absent.
        calls_per_ad: calls per hour that each active ad adds.
        cpu_seconds: computing time an account may use in an hour.
        wall_seconds: answering time an account may use in an hour.
        penalty_seconds: how much longer each call during a block makes it.
        longest_block_seconds: what penalties cannot exceed.
        score: whether the score limiter of the account is on (reads 1 point, writes 3).
        app_calls: calls per hour of the whole app; no limit when absent.
        shed_cpu_per_minute: computing time a minute over which the app's calls are shed; never when absent.
        headers_above: usage in percent under which usage headers are left out, except the insights throttle.
        throttle_half_life_seconds: time in which the insights throttle falls by half once less is used; 0: at once.
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


class ReportSetting(Part):
    """How long asynchronous reports take: `base_seconds`, and more for every thousand cells (rows times fields).

    Attributes:
        spread: standard deviation of the logarithm of the time taken; 0: the law exactly.
        visible_after_seconds: a run younger than this does not exist yet for a poll.
        full_seconds: how long a run stays at `Job Running` with 100 %.
        keep_days: the age at which a run is forgotten.
    """

    base_seconds: float = Field(default=6, ge=0)
    seconds_per_1000_cells: float = Field(default=0.5, ge=0)
    spread: float = Field(default=0.35, ge=0)
    longest_seconds: float = Field(default=3_600, gt=0)
    visible_after_seconds: float = Field(default=0, ge=0)
    full_seconds: float = Field(default=1, ge=0)
    keep_days: int = Field(default=30, ge=1)


class SizeSetting(Part):
    """What is too much; absent: nothing is.

    Attributes:
        page_cells: cells (rows times weighted fields) of one page over which the answer is "reduce the amount".
        sync_rows: rows of a synchronous question over which it must be split.
        async_rows: rows over which a report run fails.
    """

    page_cells: int | None = Field(default=None, ge=1)
    sync_rows: int | None = Field(default=None, ge=1)
    async_rows: int | None = Field(default=None, ge=1)


class UseCase(Part):
    """One entry of the business-use-case header, told as it stands.

    Attributes:
        object: the business or account that it is about; the asked account when absent.
    """

    type: str = "ads_management"
    object: str | None = None
    call_count: int = Field(default=100, ge=0)
    total_cputime: int = Field(default=0, ge=0)
    total_time: int = Field(default=0, ge=0)
    estimated_time_to_regain_access: int = Field(default=0, ge=0)


class UsageSetting(Part):
    """Usage that each answer tells, whatever is really used; what is absent is told as it is.

    Attributes:
        accounts: only answers about these, in canonical form; about all when empty.
        acc_id_util_pct: of the account's score, and of the insights throttle on answers about insights.
        app_id_util_pct: of the app, as the insights throttle tells it.
        reset_time_duration: seconds until the account's score is back.
        use_case: further entries of the business-use-case header.
    """

    accounts: frozenset[str] = frozenset()
    acc_id_util_pct: float | None = Field(default=None, ge=0)
    app_id_util_pct: float | None = Field(default=None, ge=0)
    reset_time_duration: int | None = Field(default=None, ge=0)
    use_case: tuple[UseCase, ...] = ()


class Poison(Part):
    """An ad (by id, or by slot so that it is known beforehand) or a field that makes every question about it fail."""

    account: str | None = None
    ad: str | None = None
    slot: int | None = Field(default=None, ge=0)
    field: str | None = None

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if [self.ad, self.slot, self.field].count(None) != 2:
            raise ValueError("a poison names one of ad, slot and field")
        return self


class FaultRule(Part):
    """One fault: what happens, to whom, and when.

    Attributes:
        rate: share of the matching calls that it hits.
        every: hits only each so-many-th of the matching calls.
        after_calls: matching calls that are let through first.
        calls: matching calls, counted from there, after which it is over.
        after_seconds: time since the storm was set before it begins.
        for_seconds: how long it lasts from there.
        accounts: only these, in canonical form; all when empty.
        routes: only these; all that the kind can hit when empty.
        seconds: length of a slow body in real seconds, the skew of the platform's clock, or what Retry-After says.
        subcode: the subcode of `token_dead`.
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


class FaultProfile(Part):
    """Everything about a platform's behaviour that is not its data; equal storms hit equal calls."""

    seed: int = Field(default=7, ge=0)
    quota: QuotaSetting | None = None
    usage: UsageSetting = UsageSetting()
    reports: ReportSetting = ReportSetting()
    size: SizeSetting = SizeSetting()
    poison: tuple[Poison, ...] = ()
    fault: tuple[FaultRule, ...] = ()


def parse_fault_profile(values: Any, name: str) -> FaultProfile:
    """Return the storm that parsed TOML or JSON means.

    Raises:
        InvalidValue: it does not; the message names the place in `name` and what is wrong there.
    """
    try:
        return FaultProfile.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidValue(f"{name}: {place or 'the file'}: {first['msg']}") from None


def load_fault_profile(path: Path) -> FaultProfile:
    """Read a storm from a TOML file.

    Raises:
        InvalidValue: there is no such file, it is not TOML, or it is not a storm.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidValue(f"{path} cannot be read ({error.strerror}); --faults takes a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{path} is not TOML: {error}") from None
    return parse_fault_profile(values, str(path))
