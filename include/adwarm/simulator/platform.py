"""The platform behind the web server: who may ask, what they get, and what it costs them.

`Platform.answer` takes a call as plain values and returns a body or raises `GraphError`; it knows nothing of HTTP
servers, so that the same platform can be driven in process.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adwarm.clock import AnchoredClock, Clock, FrozenClock, SystemClock
from adwarm.errors import BadRequest
from adwarm.model import account_id
from adwarm.simulator.calls import CallLog
from adwarm.simulator.config import SimulatorConfig
from adwarm.simulator.errors import GraphError, bad_parameter, missing_object
from adwarm.simulator.levels import at_level
from adwarm.simulator.paging import page_of, paging
from adwarm.simulator.query import read_query, word_list
from adwarm.simulator.quota import HourlyQuota
from adwarm.simulator.rows import delivered, render
from adwarm.simulator.world import World

VERSIONS = ("v26.0", "v25.0")
_ACCOUNT_NODE = re.compile(r"act_[0-9]{1,20}")
_ACCOUNT_FIELDS = ("id", "account_id", "name", "account_status", "currency", "timezone_name")


@dataclass(frozen=True, slots=True)
class Call:
    """One call: `parts` is the path after the version; `url` is its address without the query."""

    version: str
    parts: tuple[str, ...]
    params: Mapping[str, str]
    url: str
    bearer: str | None = None

    @property
    def account(self) -> str | None:
        """The account that the path names."""
        return self.parts[0] if self.parts and _ACCOUNT_NODE.fullmatch(self.parts[0]) else None

    @property
    def kind(self) -> str:
        """What is called, for the counts."""
        if self.account is not None:
            return self.parts[1] if len(self.parts) > 1 else "account"
        return self.parts[-1] if self.parts else "root"


@dataclass
class Platform:
    """One simulated platform with its world, its clock, its quotas and its counts."""

    config: SimulatorConfig
    clock: Clock = field(init=False)
    world: World = field(init=False)
    quota: HourlyQuota = field(init=False)
    calls: CallLog = field(init=False)

    def __post_init__(self) -> None:
        self.world = World(self.config)
        self.quota = HourlyQuota(self.config.hourly_limit)
        self.calls = CallLog()
        self.reset_clock()

    def reset_clock(self) -> None:
        """Go back to the moment of the configuration."""
        self.clock = SystemClock() if self.config.now is None else AnchoredClock(self.config.now)

    def set_now(self, moment: datetime, *, frozen: bool = False) -> None:
        """Let it be `moment`; time goes on from there unless `frozen`."""
        self.clock = FrozenClock(moment) if frozen else AnchoredClock(moment)

    def reset(self) -> None:
        """Forget calls and quotas, and go back to the configured moment."""
        self.calls.reset()
        self.quota.clear()
        self.reset_clock()

    def answer(self, call: Call) -> dict[str, Any]:
        """Return the body of the answer.

        Raises:
            GraphError: the platform refuses.
        """
        self._check_version(call.version)
        self._check_token(call)
        if call.parts == ("me", "adaccounts"):
            return self._adaccounts(call)
        account = self._check_account(call)
        if call.parts[1:] == ():
            return self._account(account, call.params)
        if call.parts[1:] == ("insights",):
            self.quota.spend(account, self.clock.now())
            return self._insights(account, call)
        raise GraphError(f"Unknown path components: /{'/'.join(call.parts[1:])}", code=2500)

    def usage_headers(self, call: Call) -> dict[str, str]:
        """Return the usage headers that go out with the answer, whatever it is."""
        account = call.account
        if account is None:
            return {}
        return self.quota.headers(account_id(account), self.clock.now(), insights=call.kind == "insights")

    def _check_version(self, version: str) -> None:
        if version not in VERSIONS:
            raise GraphError(
                f"(#2635) You are calling a deprecated version of the Ads API. Please update to {VERSIONS[0]}.",
                code=2635,
            )

    def _check_token(self, call: Call) -> None:
        token = call.bearer or call.params.get("access_token", "")
        if not hmac.compare_digest(token.encode(), self.config.token.encode()):
            raise GraphError(
                "Error validating access token: Session has expired or is not valid.", code=190, subcode=463
            )
        if self.config.app_secret is None:
            return
        proof = hmac.new(self.config.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        if not hmac.compare_digest(call.params.get("appsecret_proof", "").encode(), proof.encode()):
            raise GraphError(
                "Invalid appsecret_proof provided in the API argument", code=100, kind="GraphMethodException"
            )

    def _check_account(self, call: Call) -> str:
        if call.account is None:
            raise missing_object(call.parts[0] if call.parts else "")
        try:
            account = account_id(call.account)
        except BadRequest:
            raise missing_object(call.account) from None
        if not self.world.exists(account):
            raise missing_object(account)
        return account

    def _account(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        everything = {
            "id": account,
            "account_id": account.removeprefix("act_"),
            "name": f"Simulated account {account.removeprefix('act_')}",
            "account_status": 1,
            "currency": "USD",
            "timezone_name": self.world.zone_of(account),
        }
        wanted = word_list(params.get("fields", "id,account_id"))
        unknown = [name for name in wanted if name not in _ACCOUNT_FIELDS]
        if unknown:
            raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type (AdAccount)")
        return {name: everything[name] for name in dict.fromkeys([*wanted, "id"])}

    def _adaccounts(self, call: Call) -> dict[str, Any]:
        accounts = self.world.account_ids()
        page = page_of(
            len(accounts),
            self._page_limit(call.params),
            call.params.get("after"),
            empty_between=self.config.empty_middle_pages,
        )
        data = [self._account(account, call.params) for account in accounts[page.start : page.stop]]
        return {"data": data, "paging": paging(page, call.url, call.params)} if accounts else {"data": []}

    def _page_limit(self, params: Mapping[str, str]) -> int:
        text = params.get("limit", "25")
        if not text.isdecimal() or not 1 <= int(text) <= 5000:
            raise bad_parameter("limit must be a number from 1 to 5000")
        return int(text)

    def _insights(self, account: str, call: Call) -> dict[str, Any]:
        now = self.clock.now()
        query = read_query(call.params, self.world.zone_of(account), now)
        table = at_level(self.world.block(account, query.windows, now), query.level, query.keeps)
        windows, objects = delivered(table, query.more_impressions_than)
        if not len(windows):
            return {"data": []}
        page = page_of(
            len(windows), query.limit, call.params.get("after"), empty_between=self.config.empty_middle_pages
        )
        at = windows[page.start : page.stop], objects[page.start : page.stop]
        data = render(table, at, query.fields, query.attribution)
        return {"data": data, "paging": paging(page, call.url, call.params)}
