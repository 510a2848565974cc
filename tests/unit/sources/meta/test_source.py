"""Tests of Meta as a source: pages, accounts and scopes."""

from dataclasses import replace
from datetime import date

import pytest
from pydantic import SecretStr, ValidationError

from adwarm.foundation.errors import BadRequest, Corrupt, Throttled, Transient
from adwarm.model import Account, QuerySpec, Scope, ScopeKind, UsageSample, Window
from adwarm.settings import SourceSettings
from adwarm.sources.meta.source import MetaSource, request_params
from adwarm.sources.meta.transport import MetaCredentials
from adwarm.sources.protocol import FetchUnit, Increment, ResultPage, iter_accounts
from tests.unit.sources.conftest import TOKEN, ScriptedServer

UNIT = FetchUnit("act_1", (Window(date(2026, 11, 1), date(2026, 11, 7)),), Increment.DAY, QuerySpec(fields=("spend",)))


def row(ad: str, **more: object) -> dict[str, object]:
    """A row of the unit's first day."""
    return {"account_id": "1", "ad_id": ad, "date_start": "2026-11-01", "date_stop": "2026-11-01", **more}


def paging(after: str | None, *, more: bool) -> dict[str, object]:
    """A paging object; `next` points to a host that must never be called."""
    found: dict[str, object] = {"cursors": {"before": "b", "after": after} if after else {}}
    return found | ({"next": f"http://127.0.0.1:9/steal?access_token=x&after={after or 'fromnext'}"} if more else {})


def first_page(source: MetaSource) -> ResultPage:
    """The unit's first page."""
    page = source.submit(UNIT)
    assert isinstance(page, ResultPage)
    return page


def test_only_a_missing_next_ends_a_report(scripted: ScriptedServer, meta: MetaSource) -> None:
    """An empty page with a next one is followed, and a cursor without `next` is the end."""
    scripted.add_reply({"data": [row("1", spend=None)], "paging": paging("c1", more=True)})
    scripted.add_reply({"data": [], "paging": paging("c2", more=True)})
    scripted.add_reply({"data": [row("2")], "paging": paging("c3", more=False)})
    page, rows, cursors = first_page(meta), [], []
    while True:
        rows += page.rows
        cursors.append(page.next_cursor)
        if page.next_cursor is None:
            break
        page = meta.read(UNIT, page.next_cursor)
    assert rows == [row("1"), row("2")]
    assert cursors == ["c1", "c2", None]
    assert ["after=c1" in path for path in scripted.paths] == [False, True, False]
    assert page.api_version == "v26.0"


def test_a_cursor_only_in_next(scripted: ScriptedServer, meta: MetaSource) -> None:
    """A page without cursors is continued by the cursor in the `next` URL, without calling that URL."""
    scripted.add_reply({"data": [], "paging": paging(None, more=True)})
    assert first_page(meta).next_cursor == "fromnext"


def test_responses_that_would_lose_rows(scripted: ScriptedServer, meta: MetaSource, subtests: pytest.Subtests) -> None:
    """A next page without a new cursor, or a response without rows, is an error and not an end."""
    for body in (
        {"data": [], "paging": {"next": "http://x/"}},
        {"data": [], "paging": {"next": "http://x/", "cursors": {"after": "same"}}},
        {"paging": {}},
        {"data": {"ad_id": "1"}},
        {"data": [1]},
        {"data": [], "paging": {"next": "http://[::1"}},
        {"data": [], "paging": {"next": {"after": "x"}}},
        {"data": [], "paging": {"next": "http://x/", "cursors": {"after": "c" * 5000}}},
    ):
        with subtests.test(body=body):
            scripted.add_reply(body)
            with pytest.raises(Transient):
                meta.read(UNIT, "same")


def test_usage_comes_with_the_page(scripted: ScriptedServer, meta: MetaSource) -> None:
    """The usage in the headers is part of the page."""
    scripted.add_reply({"data": []}, X_Ad_Account_Usage='{"acc_id_util_pct": 12.5}')
    assert first_page(meta).usage == (UsageSample(Scope(ScopeKind.ACCOUNT, "act_1"), 12.5),)


def test_a_throttle_uses_the_headers_of_its_own_response(scripted: ScriptedServer, meta: MetaSource) -> None:
    """The header of the refused call says how long the account is parked."""
    usage = '{"1":[{"type":"ads_insights","call_count":100,"estimated_time_to_regain_access":19}]}'
    scripted.add_reply({"error": {"code": 80000, "error_subcode": 2446079}}, 400, X_Business_Use_Case_Usage=usage)
    with pytest.raises(Throttled) as caught:
        meta.submit(UNIT)
    assert (caught.value.scope, caught.value.retry_after) == ("account:act_1", 1140)


def test_the_fields_of_an_account(scripted: ScriptedServer, meta: MetaSource) -> None:
    """Zone, currency and status come from the platform; an unknown zone counts as UTC."""
    scripted.add_reply({"timezone_name": "Asia/Tokyo", "currency": "JPY", "account_status": 101, "id": "act_1"})
    scripted.add_reply({"timezone_name": "Mars/Base", "id": "act_1"})
    assert meta.get_account("act_1") == Account(
        "act_1", "Asia/Tokyo", "Asia/Tokyo", "JPY", "facebook_default", "closed"
    )
    assert meta.get_account("act_1") == Account("act_1", connection="facebook_default")


def test_every_account_of_the_token(scripted: ScriptedServer, meta: MetaSource) -> None:
    """Accounts are read page by page, empty pages included."""
    scripted.add_reply({"data": [{"id": "act_5", "account_id": "5"}], "paging": paging("c1", more=True)})
    scripted.add_reply({"data": [], "paging": paging("c2", more=True)})
    scripted.add_reply({"data": [{"id": "act_6"}], "paging": paging("c3", more=False)})
    assert [account.id for account in iter_accounts(meta)] == ["act_5", "act_6"]


def test_foreign_and_malformed_rows_are_refused(
    scripted: ScriptedServer, meta: MetaSource, subtests: pytest.Subtests
) -> None:
    """One row that is not the unit's refuses the first page and every later one."""
    for changes in (
        {"account_id": "2"},
        {"account_id": None},
        {"ad_id": "1 or so"},
        {"date_start": "2026-10-31"},
        {"spend": "NaN"},
    ):
        with subtests.test(changes=changes):
            for read in (lambda: meta.submit(UNIT), lambda: meta.read(UNIT, "c")):
                scripted.add_reply({"data": [row("1"), row("2", **changes)]})
                with pytest.raises(Corrupt, match=next(iter(changes))):
                    read()


def test_a_response_about_another_account_is_refused(
    scripted: ScriptedServer, meta: MetaSource, subtests: pytest.Subtests
) -> None:
    """A response about another account, or one that fits no column, is refused."""
    for field, value in (
        ("id", "act_2"),
        ("account_id", "2"),
        ("account_id", 1),
        ("currency", "U" * 320),
        ("currency", "U\0D"),
        ("currency", 7),
        ("timezone_name", "Europe/" + "x" * 900),
        ("timezone_name", ["UTC"]),
    ):
        with subtests.test(field=field, value=value):
            scripted.add_reply({
                "account_id": "1",
                "id": "act_1",
                "timezone_name": "UTC",
                "currency": "EUR",
                field: value,
            })
            with pytest.raises(Corrupt, match=r"account_id|currency|timezone_name"):
                meta.get_account("act_1")


def test_an_account_without_an_id_is_refused(scripted: ScriptedServer, meta: MetaSource) -> None:
    """A response about an account without an id is refused."""
    scripted.add_reply({"timezone_name": "UTC", "currency": "EUR"})
    with pytest.raises(Corrupt, match="missing"):
        meta.get_account("act_1")


def test_a_page_of_accounts(scripted: ScriptedServer, meta: MetaSource) -> None:
    """Names, statuses and usage are read; a malformed account is left out and named, and stops no other."""
    listed = [
        {"id": "act_5", "name": " [draft]\n\x1b[31mA ", "timezone_name": "Asia/Calcutta", "account_status": 2},
        {"currency": "EUR"},
        {"id": "act_6", "timezone_name": "Europe/Nowhere", "account_status": 101},
        {"id": "act_7", "currency": 7},
        {"id": "act_8", "timezone_name": "UTC", "account_status": "x"},
        {"id": "act_9", "timezone_name": "UTC", "account_status": 55},
    ]
    scripted.add_reply({"data": listed, "paging": paging("c1", more=True)})
    page = meta.list_account_page("c0", 25)
    assert "after=c0" in scripted.paths[-1]
    assert "limit=25" in scripted.paths[-1]
    assert page.next_cursor == "c1"
    found = {account.id: account for account in page.accounts}
    assert list(found) == ["act_5", "act_6", "act_8", "act_9"]
    assert (found["act_5"].name, found["act_5"].data_zone) == ("[draft] [31mA", "Asia/Calcutta")
    assert (found["act_5"].status, "disabled" in found["act_5"].status_reason) == ("active", True)
    assert (found["act_6"].status, found["act_6"].data_zone) == ("closed", "UTC")
    assert "not a number" in found["act_8"].status_reason
    assert "55" in found["act_9"].status_reason
    assert [text.split(" ")[0] for text in page.problems] == ["an", "act_6", "an"]


def test_every_status_of_the_platform(scripted: ScriptedServer, meta: MetaSource, subtests: pytest.Subtests) -> None:
    """Only closed accounts are closed; every other state than plainly active has a reason."""
    for code, status in (
        *((code, "active") for code in (1, 2, 3, 7, 8, 9, 100, 201)),
        *((code, "closed") for code in (101, 202)),
    ):
        with subtests.test(code=code, status=status):
            scripted.add_reply({"data": [{"id": "act_5", "timezone_name": "UTC", "account_status": code}]})
            (account,) = meta.list_account_page(None).accounts
            assert account.status == status
            assert bool(account.status_reason) == (code not in {1, 201})


def test_accounts_in_a_loop(scripted: ScriptedServer, meta: MetaSource) -> None:
    """Pages that lead back to an earlier one are not followed."""
    for number, cursor in enumerate("abab"):
        scripted.add_reply({"data": [{"id": f"act_{number}"}], "paging": paging(cursor, more=True)})
    with pytest.raises(Corrupt, match="circle"):
        list(iter_accounts(meta))
    assert len(scripted.paths) == 3


def test_scopes_name_no_secret() -> None:
    """A call draws on account, app and token; the token is named by a hash, and stands for an unnamed app."""
    settings = SourceSettings()
    named = MetaSource(MetaCredentials(SecretStr(TOKEN), "77"), settings).scopes("act_1")
    assert [str(scope.kind) for scope in named] == ["account", "app", "token"]
    assert len(named[2].id) == 12
    assert len(MetaSource(MetaCredentials(SecretStr(TOKEN)), settings).scopes("act_1")) == 2


def test_the_digest_covers_every_credential() -> None:
    """Another token, app or secret has another digest; it is stable and reveals none of them."""
    made = [
        MetaCredentials(SecretStr(token), app, SecretStr(secret) if secret else None)
        for token, app, secret in ((TOKEN, "77", "s"), (TOKEN, "77", None), (TOKEN, None, None), ("other", "77", "s"))
    ]
    digests = [MetaSource(credentials, SourceSettings()).credential for credentials in made]
    assert len(set(digests)) == 4
    assert digests[0] == MetaCredentials(SecretStr(TOKEN), "77", SecretStr("s")).digest
    assert {len(digest) for digest in digests} == {16}


def test_the_clock_offset_of_the_platform(scripted: ScriptedServer, meta: MetaSource) -> None:
    """The source reports how far the platform's clock is ahead once a response had a date."""
    assert meta.clock_offset_seconds is None
    scripted.add_reply({"id": "act_1", "currency": "EUR"}, Date="Wed, 25 Nov 2026 13:00:00 GMT")
    meta.get_account("act_1")
    assert meta.clock_offset_seconds == 3_600


def test_credentials_need_a_token() -> None:
    """Settings without a token are refused with the variable to set."""
    with pytest.raises(BadRequest, match="ADWARM_SOURCE__ACCESS_TOKEN"):
        MetaCredentials.from_settings(SourceSettings())
    assert MetaCredentials.from_settings(SourceSettings(access_token=SecretStr("t"))).app_id is None


def test_a_version_is_a_setting() -> None:
    """Any version of the platform's form, so that a new one needs no release; nothing else."""
    assert SourceSettings().api_version == "v26.0"
    assert SourceSettings(api_version="v31.0").api_version == "v31.0"
    for version in ("v1.0", "v27", "v27.1", "26.0", "v27.0/../x", ""):
        with pytest.raises(ValidationError):
            SourceSettings.model_validate({"api_version": version})


FIRST, SECOND = Window(date(2026, 11, 1), date(2026, 11, 7)), Window(date(2026, 11, 8), date(2026, 11, 9))
SPEC = QuerySpec(fields=("ad_name", "spend", "date_start"))


def unit(*windows: Window, increment: Increment = Increment.RANGE, spec: QuerySpec = SPEC) -> FetchUnit:
    """A unit of account 1."""
    return FetchUnit("act_1", windows, increment, spec)


def test_days_of_one_window() -> None:
    """Days are one range with an increment of one."""
    assert request_params(unit(FIRST, increment=Increment.DAY), 500) == {
        "level": "ad",
        "fields": "account_id,ad_id,ad_name,spend",
        "limit": 500,
        "time_range": {"since": "2026-11-01", "until": "2026-11-07"},
        "time_increment": 1,
        "use_unified_attribution_setting": "true",
    }


def test_several_windows_are_time_ranges() -> None:
    """Totals of several windows are sent as time_ranges without an increment, with the cursor."""
    params = request_params(unit(FIRST, SECOND), 50, "abc")
    assert [span["since"] for span in params["time_ranges"]] == ["2026-11-01", "2026-11-08"]
    assert "time_increment" not in params
    assert params["after"] == "abc"


def test_one_window_of_totals_is_a_time_range() -> None:
    """Totals of one window are a plain range."""
    assert "time_range" in request_params(unit(FIRST), 50)


def test_days_of_several_windows_are_refused() -> None:
    """The platform ignores the increment beside time_ranges, so such a unit is refused."""
    with pytest.raises(BadRequest):
        request_params(unit(FIRST, SECOND, increment=Increment.DAY), 50)


def test_attribution_and_filters() -> None:
    """Attribution setting, attribution windows and filters are sent in the platform's form."""
    spec = QuerySpec(fields=("spend",), attribution_windows=("7d_click",))
    asked = FetchUnit(
        "act_1", (FIRST,), Increment.RANGE, spec, (("ad.id", "IN", "1,2"), ("impressions", "GREATER_THAN", "0"))
    )
    params = request_params(asked, 50)
    assert params["action_attribution_windows"] == ["7d_click"]
    assert params["use_unified_attribution_setting"] == "true"
    for attribution, names in (("account", ["use_account_attribution_setting"]), ("", [])):
        other = request_params(replace(asked, spec=QuerySpec(fields=("spend",), attribution=attribution)), 50)
        assert [name for name in other if "attribution" in name] == names
    standing = params["filtering"].pop()
    assert (standing["field"], standing["operator"]) == ("ad.effective_status", "IN")
    assert {"ACTIVE", "ARCHIVED", "DELETED"} < set(standing["value"]), "a filter hides what is not active"
    assert params["filtering"] == [
        {"field": "ad.id", "operator": "IN", "value": ["1", "2"]},
        {"field": "impressions", "operator": "GREATER_THAN", "value": "0"},
    ]


def test_a_level_requests_its_own_ids() -> None:
    """Above the ad level, fields of lower levels are left out: the platform has none for such a row."""
    spec = QuerySpec("campaign", ("ad_id", "adset_name", "campaign_name", "spend"))
    assert request_params(unit(FIRST, spec=spec), 50)["fields"] == "account_id,campaign_id,campaign_name,spend"
    for level, goals in (("ad", 2), ("adset", 2), ("campaign", 1), ("account", 0)):
        fields = request_params(unit(FIRST, spec=QuerySpec(level)), 50)["fields"].split(",")
        assert len({"objective", "optimization_goal"} & set(fields)) == goals
        assert {"results", "cost_per_result"} <= set(fields)
