"""Tests of the table of error codes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    Blocked,
    Denied,
    FieldRefused,
    NotFound,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
    VersionEnded,
)
from adwarm.model import Scope, ScopeKind, UsageSample
from adwarm.sources.meta.graph_errors import CallContext, naming_refused_fields, parse_error, too_many_requests

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
ACCOUNT, APP, TOKEN = Scope(ScopeKind.ACCOUNT, "act_1"), Scope(ScopeKind.APP, "7"), Scope(ScopeKind.TOKEN, "ab")
CALLER = CallContext("act_1", ACCOUNT, APP, TOKEN, ("s3cret-token",))


def classify(code: Any, subcode: int | None = None, status: int = 400, **more: Any) -> AdwarmError:
    """The error for a code."""
    usage = more.pop("usage", ())
    return parse_error({"code": code, "error_subcode": subcode, **more}, status, CALLER, usage, NOW)


CODES = [
    (1, None, "An unknown error occurred", Transient),
    (2, None, "Service temporarily unavailable", Transient),
    (1, None, "Please reduce the amount of data you're asking for, then retry", TooMuchData),
    (100, 1487534, "too many rows", TooMuchData),
    (100, 1504018, "timed out", TooMuchData),
    (2, 1504038, "timed out", TooMuchData),
    (-3, 1504045, "too large", TooMuchData),
    (2, 1504043, "", Transient),
    (2, 1504044, "", Transient),
    (-2, 2490547, "", Transient),
    (2, 1504041, "invalid breakdowns", BadRequest),
    (2, 1504042, "invalid metric", BadRequest),
    (100, 3191001, "", BadRequest),
    (100, None, "bad field", BadRequest),
    (100, 33, "missing", NotFound),
    (3018, None, "37 months", BadRequest),
    (2635, None, "old version", VersionEnded),
    (100, None, "Cannot include ctr in summary param because they weren't there while creating", Transient),
    (2601, 1815107, "Error accessing adreport job", Transient),
    *[(190, subcode, "dead", TokenDead) for subcode in (None, 458, 459, 460, 463, 464, 467, 492)],
    (102, None, "session", TokenDead),
    *[(code, None, "no", Denied) for code in (10, 200, 274, 276, 294, 299)],
    *[(code, None, "", Transient) for code in (960, 104)],
    (275, None, "Cannot determine the target object for this post", BadRequest),
    (100, None, "(#100) Object does not exist, cannot be loaded due to missing permission or reviewable", Denied),
    (100, 33, "Unsupported get request. Object with ID '1' does not exist, cannot be loaded", NotFound),
    (9999, None, "news", BadRequest),
    (None, None, "no code", BadRequest),
    ("odd", None, "no number", BadRequest),
]


def test_what_each_code_means(subtests: pytest.Subtests) -> None:
    """Each row of the table becomes its own kind of error, and no throttle."""
    for code, subcode, message, kind in CODES:
        with subtests.test(code=code, subcode=subcode, message=message, kind=kind):
            error = classify(code, subcode, message=message)
            assert type(error) is kind


THROTTLES = [
    (80000, 2446079, ACCOUNT, 300),
    (80004, 2446079, ACCOUNT, 300),
    (80003, None, ACCOUNT, 300),
    (17, 2446079, ACCOUNT, 300),
    (613, 1487742, ACCOUNT, 300),
    (613, 1996, ACCOUNT, 60),
    (613, 5044001, ACCOUNT, 60),
    (4, 1504022, ACCOUNT, 60),
    (4, 1504039, ACCOUNT, 60),
    (4, None, APP, 300),
    (341, None, APP, 300),
    (17, None, TOKEN, 300),
    (368, None, TOKEN, 3600),
    (3, None, APP, 3600),
    *[(code, None, ACCOUNT, 300) for code in (32, 80001, 80002, 80005, 80006, 80008, 80009, 80014)],
]


def test_what_each_throttle_parks(subtests: pytest.Subtests) -> None:
    """Each throttle names the scope to park, and how long when the platform does not say."""
    for code, subcode, scope, seconds in THROTTLES:
        with subtests.test(code=code, subcode=subcode, scope=scope, seconds=seconds):
            for transient in (True, False):
                error = classify(code, subcode, is_transient=transient)
                assert isinstance(error, Throttled)
                assert (error.scope, error.until) == (str(scope), NOW + timedelta(seconds=seconds))
                assert error.retry_after == seconds


def test_the_platforms_own_time_wins() -> None:
    """A regain time for the parked scope replaces the table's; one for another scope does not."""
    usage = (UsageSample(ACCOUNT, 100, 1140.0), UsageSample(APP, 100, 9000.0))
    error = classify(80000, 2446079, usage=usage)
    assert isinstance(error, Throttled)
    assert error.until == NOW + timedelta(seconds=1140)


def test_transient_means_retry_except_where_waiting_cannot_help() -> None:
    """`is_transient` turns a plain failure into a retry; too much data and permanent failures stay."""
    assert type(classify(100, None, is_transient=True)) is Transient
    assert type(classify(9999, None, is_transient=True)) is Transient
    assert type(classify(100, 1487534, is_transient=True)) is TooMuchData
    assert type(classify(2, 1504041, is_transient=True)) is BadRequest


def test_the_status_decides_only_unknown_codes() -> None:
    """HTTP 500 with an unknown code is retried, 429 parks the account, and a known code wins over the status."""
    assert type(classify(9999, status=500)) is Transient
    assert isinstance(classify(None, status=429), Throttled)
    assert type(classify(190, status=500)) is TokenDead


def test_messages_keep_facts_and_hide_secrets() -> None:
    """The message keeps code, subcode, status and trace id; tokens and URLs are removed."""
    error = classify(
        190,
        463,
        message="Malformed token s3cret-token at https://graph/x?access_token=abc EAAB0123456789ABCDEF",
        fbtrace_id="Atrace",
        error_user_msg="access_token=zzz",
    )
    text = str(error)
    for fact in ("HTTP 400", "code 190", "subcode 463", "trace Atrace"):
        assert fact in text
    for secret in ("s3cret", "graph/x", "EAAB", "zzz"):
        assert secret not in text
    assert error.code == "190/463"


def test_remedies_for_too_much_data() -> None:
    """Each kind says what may help besides fewer days: a smaller page, an async report, or neither."""
    helps = {
        (1, None): (True, True),
        (100, 1487534): (False, False),
        (100, 1504018): (False, True),
        (2, 1504038): (False, True),
        (-3, 1504045): (False, False),
    }
    for (code, subcode), expected in helps.items():
        error = classify(code, subcode, message="Please reduce the amount of data")
        assert isinstance(error, TooMuchData)
        assert (error.smaller_page, error.in_background) == expected


def test_full_access_shortens_the_score_block() -> None:
    """The score limiter parks an app with full access for one minute only."""
    full = replace(CALLER, full_access=True)
    for code, subcode in ((17, 2446079), (613, 1487742)):
        error = parse_error({"code": code, "error_subcode": subcode}, 400, full, (), NOW)
        assert isinstance(error, Throttled)
        assert error.retry_after == 60
    assert parse_error({"code": 80000}, 400, full, (), NOW).retry_after == 300  # type: ignore[attr-defined]


def test_denied_names_the_account() -> None:
    """A denial names the account; without an account it is a bad request."""
    error = classify(200, message="no ads_read")
    assert isinstance(error, Denied)
    assert error.account_id == "act_1"
    nobody = parse_error({"code": 200}, 403, CallContext(None, None, APP, TOKEN), (), NOW)
    assert type(nobody) is BadRequest


UNSUPPORTED = (
    "Unsupported get request. Object with ID '{}' does not exist, cannot be loaded due to missing permissions, or does "
    "not support this operation. Please read the Graph API documentation at https://developers.facebook.com/docs/x"
)


RECORDED = [
    # singer-io/tap-facebook issue 93
    (
        {
            "type": "GraphMethodException",
            "message": UNSUPPORTED.format("act_1"),
            "code": 100,
            "fbtrace_id": "AkC_QOl81J_K3geIwCnMSj9",
            "error_subcode": 33,
        },
        400,
        Denied,
    ),
    # facebookarchive/php-graph-sdk issue 999: the same without a subcode
    ({"message": UNSUPPORTED.format("act_1"), "code": 100}, 400, Denied),
    # airbytehq/airbyte, unit tests of source-facebook-marketing
    ({"message": "(#100) Missing permissions", "type": "OAuthException", "code": 100}, 400, Denied),
    ({"code": 200, "message": "(#200) Requires business_management permission to manage the object"}, 403, Denied),
    (
        {
            "message": "An unknown error occurred",
            "type": "OAuthException",
            "code": 1,
            "error_subcode": 2853001,
            "is_transient": False,
            "error_user_title": "profile is not linked to delegate page",
            "error_user_msg": "profile should always be linked to delegate page",
        },
        400,
        BadRequest,
    ),
    ({"code": 1, "message": "An unknown error occurred", "error_subcode": 99}, 500, Transient),
    (
        {
            "message": "Error validating access token: Session has expired on Friday, 18-Aug",
            "type": "OAuthException",
            "code": 190,
            "error_subcode": 463,
        },
        400,
        TokenDead,
    ),
    # maiha/facebook.cr issues 2 and 3: the second came and went by itself, and says nothing of permissions
    ({"message": "(#10) Permission Denied.", "type": "OAuthException", "code": 10}, 400, Denied),
    ({"message": "Unsupported get request.", "type": "GraphMethodException", "code": 100}, 400, BadRequest),
    # facebook-php-business-sdk issues 213, 329, 17 and 363
    ({"message": "(#275) Cannot determine the target object for this request.", "code": 275}, 400, BadRequest),
    (
        {"message": "(#273) This Ads API call requires the user to be admin of the ad account.", "code": 273},
        400,
        Denied,
    ),
    (
        {"message": "(#294) Managing advertisements requires the extended permission ads_management", "code": 294},
        403,
        Denied,
    ),
    (
        {
            "message": "(#3) Application does not have the capability to make this API call.",
            "type": "OAuthException",
            "code": 3,
        },
        400,
        Blocked,
    ),
    # jgorset/facepy issue 135, facebook-csharp-sdk issues 97 and 382
    (
        {
            "message": "An active access token must be used to query information about the current user.",
            "type": "OAuthException",
            "code": 2500,
        },
        400,
        TokenDead,
    ),
    ({"message": "Incorrect signature", "code": 104}, 400, TokenDead),
    ({"message": "Unknown path components: /insight", "type": "OAuthException", "code": 2500}, 400, BadRequest),
    # dektrium/yii2-user issue 305, facebook-php-business-sdk issue 21
    (
        {
            "message": "API calls from the server require an appsecret_proof argument",
            "type": "GraphMethodException",
            "code": 100,
        },
        400,
        TokenDead,
    ),
    ({"message": "Invalid appsecret_proof provided in the API argument", "code": 100}, 400, TokenDead),
]


def test_recorded_responses_about_an_account(subtests: pytest.Subtests) -> None:
    """Recorded bodies of calls whose path is the account."""
    for body, status, kind in RECORDED:
        with subtests.test(body=body, status=status, kind=kind):
            error = parse_error(body, status, replace(CALLER, is_account_node=True), (), NOW)
            assert type(error) is kind


def test_a_missing_object_is_not_a_missing_account(subtests: pytest.Subtests) -> None:
    """For a report or a campaign the same message means that the object is missing, not the account."""
    for body in (
        {"code": 100, "error_subcode": 33, "message": UNSUPPORTED.format("6023")},
        {"code": 100, "message": UNSUPPORTED.format("6023")},
    ):
        with subtests.test(body=body):
            assert type(parse_error(body, 400, CALLER, (), NOW)) is NotFound


def test_a_blocked_app_is_one_scope() -> None:
    """A missing capability parks the app and no account, and says that a human must act; so does a policy block."""
    app, token = classify(3), classify(368)
    assert isinstance(app, Blocked)
    assert isinstance(token, Blocked)
    assert (app.scope, token.scope) == (str(APP), str(TOKEN))
    assert "put right" in str(app)


def test_retry_after_is_kept() -> None:
    """It sets the time of a 429 and of a transient failure, unless the usage asks for longer."""
    for error in (parse_error({}, 429, CALLER, (), NOW, 77.0), too_many_requests(CALLER, NOW, 77.0)):
        assert isinstance(error, Throttled)
        assert (error.scope, error.retry_after, error.until) == (str(ACCOUNT), 77.0, NOW + timedelta(seconds=77))
    assert parse_error({"code": 2}, 503, CALLER, (), NOW, 9.0).retry_after == 9.0  # type: ignore[attr-defined]
    usage = (UsageSample(ACCOUNT, 100, 1140.0),)
    assert parse_error({"code": 80000}, 429, CALLER, usage, NOW, 77.0).retry_after == 1140.0  # type: ignore[attr-defined]
    assert too_many_requests(CALLER, NOW, None).retry_after == 60.0
    assert too_many_requests(CallContext(None, None, APP, TOKEN), NOW, None).scope == str(TOKEN)


def test_no_wait_is_beyond_the_calendar() -> None:
    """A regain time of a billion minutes still gives a valid time."""
    error = parse_error({"code": 80000}, 400, CALLER, (UsageSample(ACCOUNT, 100, 6e10),), NOW, 1e300)
    assert isinstance(error, Throttled)
    assert error.until == NOW + timedelta(days=365)


def test_odd_error_bodies() -> None:
    """Codes and messages of any size and nesting give a bounded message and a code that fits its column."""
    nested: Any = "x"
    for _ in range(5_000):
        nested = [nested]
    for body in (
        {"code": "9" * 5000, "error_subcode": 10**30, "message": "m" * 10**6, "fbtrace_id": "t" * 10**6},
        {"code": nested, "message": nested, "error_user_msg": nested, "fbtrace_id": nested},
        {"code": float("inf"), "error_subcode": float("nan"), "message": "a\0b"},
    ):
        error = parse_error(body, 400, CALLER, (), NOW)
        assert len(str(error)) < 1_000
        assert len(error.code or "") <= 40
        assert "\0" not in str(error)


@given(
    st.dictionaries(
        st.sampled_from(["code", "error_subcode", "message", "is_transient", "fbtrace_id"]),
        st.one_of(st.none(), st.integers(), st.text(), st.booleans(), st.lists(st.integers())),
    ),
    st.integers(100, 599),
)
def test_any_body_becomes_an_error(body: dict[str, Any], status: int) -> None:
    """Whatever an error body holds, the result is an adwarm error."""
    assert str(parse_error(body, status, CALLER, (), NOW))


MANY = (
    "activity_recency, ad_format_asset, age, bid_type, body_asset, call_to_action_asset, country, "
    "creative_fingerprint, description_asset, device_platform, dma, frequency_value, gender, "
    "hourly_stats_aggregated_by_advertiser_time_zone, hourly_stats_aggregated_by_audience_time_zone, image_asset, "
    "impression_device, link_url_asset, media_asset, place_page_id, placement, platform_position, product_format, "
    "product_id, publisher_platform, purchasing_interface, region, rule_asset, title_asset, video_asset"
)
RECORDED_REFUSALS = [
    (
        "airbytehq/airbyte#35334",
        100,
        "(#100) age_targeting, gender_targeting, labels, location are not valid for fields param after V19.0",
        ["age_targeting", "labels", "location"],
    ),
    (
        "airbytehq/airbyte#4136",
        100,
        "(#100) store_visit_actions, cost_per_store_visit_action are not valid for fields param. please check https://x",
        ["cost_per_store_visit_action", "store_visit_actions"],
    ),
    (
        "facebook/facebook-php-business-sdk#469",
        100,
        "(#100) social_impressions is not valid for fields param",
        ["social_impressions"],
    ),
    (
        "airbytehq/airbyte#38835",
        100,
        "(#100) Tried accessing nonexisting field (cost_per_conversion_lead) on node type (AdsInsights)",
        ["cost_per_conversion_lead"],
    ),
    ("facebook/facebook-php-business-sdk#221", 100, "Field spend_cap is not supported", ["spend_cap"]),
    (
        "facebook/facebook-nodejs-business-sdk#98",
        100,
        f"(#100) {MANY}, id are not valid for fields param. please check https://x for all",
        MANY.split(", "),
    ),
    (
        "moviepilot/zuck#22",
        12,
        "(#12) daily_spend_limit field is deprecated for versions v2.4 and higher",
        ["daily_spend_limit"],
    ),
]
UNNAMED_REFUSALS = [
    ("airbytehq/airbyte#80740", 100, "(#100) The value must be a valid insights metric", BadRequest),
    ("PostHog/posthog#77748", 100, "(#100) Requires business_management permission to access the field.", BadRequest),
    ("PostHog/posthog#101322", 100, "(#100) Missing perms", Denied),
    ("PostHog/posthog#80771", 200, "(#200) Requires business_management permission to manage the object", Denied),
    ("OWOX/owox-data-marts#447", 3, "(#3) User must be on whitelist", BadRequest),
    ("airbytehq/airbyte#44017", 2635, "(#2635) You are calling a deprecated version of the Ads API.", VersionEnded),
    ("logly/mureo#744", 100, "(#100) You must provide an app access token", BadRequest),
    ("airbytehq/airbyte#49977", 1, "Please reduce the amount of data you're asking for, then retry", TooMuchData),
]


def test_recorded_refusals_name_their_fields(subtests: pytest.Subtests) -> None:
    """Errors that others met, by their source: fields are taken from the text, only those that were requested."""
    for source, code, message, refused in RECORDED_REFUSALS:
        with subtests.test(source=source):
            asked = sorted([*refused, "impressions", "actions"])
            with pytest.raises(FieldRefused) as caught, naming_refused_fields(asked):
                raise classify(code, message=message)
            assert caught.value.fields == tuple(refused)
            assert len(str(caught.value)) <= 400
            with pytest.raises(BadRequest) as other, naming_refused_fields(["impressions", "ad_id"]):
                raise classify(code, message=message)
            assert type(other.value) is BadRequest


def test_recorded_refusals_without_a_name_are_what_they_were(subtests: pytest.Subtests) -> None:
    """Errors that others met and that name no requested field keep their kind, whatever the query asks for."""
    for source, code, message, kind in UNNAMED_REFUSALS:
        with subtests.test(source=source):
            with pytest.raises(kind) as caught, naming_refused_fields(["business_management", "field", "spend"]):
                raise classify(code, message=message)
            assert type(caught.value) is kind
