"""Meta as a source: its pager, its accounts and its scopes."""

from datetime import date

import pytest
from pydantic import SecretStr, ValidationError
from tests.unit.sources.conftest import TOKEN, Scripted

from adwarm.errors import BadRequest, Throttled, Transient
from adwarm.model import Account, QuerySpec, Scope, ScopeKind, UsageSample, Window
from adwarm.settings import SourceSettings
from adwarm.sources.meta.credentials import MetaCredentials
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.protocol import Increment, Page, Unit

UNIT = Unit("act_1", (Window(date(2026, 11, 1), date(2026, 11, 7)),), Increment.DAY, QuerySpec(fields=("spend",)))


def paging(after: str | None, *, more: bool) -> dict[str, object]:
    """A paging object; `next` leads to a host that must never be called."""
    found: dict[str, object] = {"cursors": {"before": "b", "after": after} if after else {}}
    return found | ({"next": f"http://127.0.0.1:9/steal?access_token=x&after={after or 'fromnext'}"} if more else {})


def first_page(source: MetaSource) -> Page:
    """The unit's first page."""
    page = source.submit(UNIT)
    assert isinstance(page, Page)
    return page


def test_only_a_missing_next_ends_a_report(scripted: Scripted, meta: MetaSource) -> None:
    """An empty page that names a next one is read past, and a cursor without `next` is the end."""
    scripted.say({"data": [{"ad_id": "1"}], "paging": paging("c1", more=True)})
    scripted.say({"data": [], "paging": paging("c2", more=True)})
    scripted.say({"data": [{"ad_id": "2"}], "paging": paging("c3", more=False)})
    page, rows, cursors = first_page(meta), [], []
    while True:
        rows += page.rows
        cursors.append(page.next_cursor)
        if page.next_cursor is None:
            break
        page = meta.read(UNIT, page.next_cursor)
    assert rows == [{"ad_id": "1"}, {"ad_id": "2"}]
    assert cursors == ["c1", "c2", None]
    assert ["after=c1" in path for path in scripted.paths] == [False, True, False]
    assert page.api_version == "v26.0"


def test_a_cursor_only_in_next(scripted: Scripted, meta: MetaSource) -> None:
    """A page whose cursors are missing is continued by the cursor that `next` names, not by its address."""
    scripted.say({"data": [], "paging": paging(None, more=True)})
    assert first_page(meta).next_cursor == "fromnext"


@pytest.mark.parametrize("body", [
    {"data": [], "paging": {"next": "http://x/"}},
    {"data": [], "paging": {"next": "http://x/", "cursors": {"after": "same"}}},
    {"paging": {}},
    {"data": {"ad_id": "1"}},
    {"data": [1]},
])  # fmt: skip
def test_answers_that_would_lose_rows(scripted: Scripted, meta: MetaSource, body: object) -> None:
    """A next page without a new cursor, or an answer without rows, is an error and not an end."""
    scripted.say(body)
    with pytest.raises(Transient):
        meta.read(UNIT, "same")


def test_usage_comes_with_the_page(scripted: Scripted, meta: MetaSource) -> None:
    """The headers of an answer are part of the page."""
    scripted.say({"data": []}, X_Ad_Account_Usage='{"acc_id_util_pct": 12.5}')
    assert first_page(meta).usage == (UsageSample(Scope(ScopeKind.ACCOUNT, "act_1"), 12.5),)


def test_a_throttle_uses_the_headers_of_its_own_answer(scripted: Scripted, meta: MetaSource) -> None:
    """The refused call's own header says how long the account is parked."""
    usage = '{"1":[{"type":"ads_insights","call_count":100,"estimated_time_to_regain_access":19}]}'
    scripted.say({"error": {"code": 80000, "error_subcode": 2446079}}, 400, X_Business_Use_Case_Usage=usage)
    with pytest.raises(Throttled) as caught:
        meta.submit(UNIT)
    assert (caught.value.scope, caught.value.retry_after) == ("account:act_1", 1140)


def test_an_accounts_facts(scripted: Scripted, meta: MetaSource) -> None:
    """Zone, currency and standing come from the platform; a zone that nobody knows counts as UTC."""
    scripted.say({"timezone_name": "Asia/Tokyo", "currency": "JPY", "account_status": 101, "id": "act_1"})
    scripted.say({"timezone_name": "Mars/Base", "id": "act_1"})
    assert meta.account("act_1") == Account("act_1", "Asia/Tokyo", "Asia/Tokyo", "JPY", "facebook_default", "closed")
    assert meta.account("act_1") == Account("act_1", connection="facebook_default")


def test_every_account_of_the_token(scripted: Scripted, meta: MetaSource) -> None:
    """Accounts are read page by page, empty pages included."""
    scripted.say({"data": [{"id": "act_5", "account_id": "5"}], "paging": paging("c1", more=True)})
    scripted.say({"data": [], "paging": paging("c2", more=True)})
    scripted.say({"data": [{"id": "act_6"}], "paging": paging("c3", more=False)})
    assert [account.id for account in meta.accounts()] == ["act_5", "act_6"]


def test_scopes_name_no_secret() -> None:
    """A call draws on account, app and token; the token goes by a hash, and stands for an app that is not named."""
    settings = SourceSettings()
    named = MetaSource(MetaCredentials(SecretStr(TOKEN), "77"), settings).scopes("act_1")
    assert [str(scope.kind) for scope in named] == ["account", "app", "token"]
    assert len(named[2].id) == 12
    assert len(MetaSource(MetaCredentials(SecretStr(TOKEN)), settings).scopes("act_1")) == 2


def test_credentials_need_a_token() -> None:
    """Settings without a token are refused with the variable to set."""
    with pytest.raises(BadRequest, match="ADWARM_SOURCE__ACCESS_TOKEN"):
        MetaCredentials.from_settings(SourceSettings())
    assert MetaCredentials.from_settings(SourceSettings(access_token=SecretStr("t"))).app_id is None


def test_only_versions_that_are_spoken() -> None:
    """The newest version by default, the one before on request, and no other, by settings or connection."""
    assert SourceSettings().api_version == "v26.0"
    assert SourceSettings(api_version="v25.0").api_version == "v25.0"
    for version in ("v24.0", "v27.0", "26.0", ""):
        with pytest.raises(ValidationError):
            SourceSettings.model_validate({"api_version": version})
