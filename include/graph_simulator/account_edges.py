"""What an account has beside campaigns, ad sets and ads: creatives, conversions, audiences, images, videos, activities.

Connectors read these by default. Each account has two conversions and two audiences, an image and a video for each slot
of its ads, and for each listed ad a creative and the activity that created it. An item has the fields that every such
item has; the platform's other ones are accepted and left out.
"""

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from graph_simulator.ad_objects import creative_of, list_objects, time_of
from graph_simulator.dataset import Dataset, object_id
from graph_simulator.error_responses import bad_parameter
from graph_simulator.levels import FOUNDED

Item = dict[str, Any]
_NAMES = {
    "account": """
        account_id account_status ad_account_promotable_objects age agency_client_declaration all_capabilities
        amount_spent attribution_spec balance brand_safety_content_filter_levels business business_city
        business_country_code business_name business_state business_street business_street2 business_zip
        can_create_brand_lift_study capabilities created_time currency custom_audience_info default_dsa_beneficiary
        default_dsa_payor disable_reason end_advertiser end_advertiser_name existing_customers
        expired_funding_source_details extended_credit_invoice_group failed_delivery_checks fb_entity funding_source
        funding_source_details has_migrated_permissions has_page_authorized_adaccount id io_number
        is_attribution_spec_system_default is_ba_skip_delayed_eligible is_direct_deals_enabled
        is_in_3ds_authorization_enabled_market is_notifications_enabled is_personal is_prepay_account is_tax_id_required
        liable_address line_numbers marketing_messages_settings media_agency min_campaign_group_spend_cap
        min_daily_budget name offsite_clo_signal_status offsite_pixels_tos_accepted opportunity_score
        opportunity_score_weight owner owner_business partner rf_spec send_bill_to_address show_checkout_experience
        sold_to_address spend_cap tax_id tax_id_status tax_id_type timezone_id timezone_name timezone_offset_hours_utc
        tos_accepted user_access_expire_time user_tasks user_tos_accepted viewable_business
    """,
    "adcreatives": """
        account_id actor_id ad_disclaimer_spec adlabels applink_treatment asset_feed_spec authorization_category
        auto_update body branded_content branded_content_sponsor_page_id bundle_folder_id call_to_action
        call_to_action_type categorization_criteria category_media_source collaborative_ads_lsb_image_bank_id
        contextual_multi_ads creative_sourcing_spec degrees_of_freedom_spec destination_set_id destination_spec
        dynamic_ad_voice effective_authorization_category effective_instagram_media_id effective_object_story_id
        enable_direct_install enable_launch_instant_app execution_options existing_post_title facebook_branded_content
        format_transformation_spec generative_asset_spec id image_crops image_file image_hash image_url
        instagram_branded_content instagram_permalink_url instagram_user_id interactive_components_spec is_dco_internal
        link_deep_link_url link_destination_display_url link_og_id link_url marketing_message_structured_spec
        media_optimization_spec media_sourcing_spec messenger_sponsored_message name object_id object_store_url
        object_story_id object_story_spec object_type object_url omnichannel_link_spec page_welcome_message
        photo_album_source_object_story_id place_page_set_id platform_customizations playable_asset_id
        portrait_customizations product_data product_set_id product_suggestion_settings recommender_settings
        regional_regulation_disclaimer_spec source_facebook_post_id source_instagram_media_id status template_url
        template_url_spec thumbnail_id thumbnail_url title url_tags use_page_actor_override video_id
        wamo_whatsapp_identity_spec
    """,
    "customconversions": """
        account_id action_source_type advanced_rule aggregation_rule business creation_time custom_conversion_id
        custom_event_type data_sources default_conversion_value description event_source_id event_source_type
        first_fired_time id is_archived is_unavailable last_fired_time name offline_conversion_data_set pixel
        retention_days rule
    """,
    "customaudiences": """
        account_id allowed_domains approximate_count_lower_bound approximate_count_upper_bound associated_audience_id
        audience_labels claim_objective content_type countries creation_params customer_file_source data_source
        data_source_types datafile_custom_audience_uploading_status dataset_id delete_time delivery_status description
        enable_fetch_or_create event_source_group event_sources excluded_custom_audiences exclusions
        external_event_source facebook_page_id fields_violating_integrity_policy household_audience id
        included_custom_audiences inclusionOperator inclusions is_eligible_for_sac_campaigns is_household is_snapshot
        is_value_based list_of_accounts lookalike_audience_ids lookalike_spec marketing_message_channels
        messenger_marketing_messages_page name operation_status opt_out_link origin_audience_id owner_business
        page_deletion_marked_delete_time parent_audience_id partner_reference_key permission_for_actions pixel_id
        prefill product_set_id regulated_audience_spec retention_days rev_share_policy_id rule rule_aggregation rule_v2
        seed_audience sharing_status subscription_info subtype time_content_updated time_created time_updated
        usage_restriction use_for_products use_in_campaigns video_group_ids whats_app_business_phone_number_id
    """,
    "adimages": """
        account_id bytes copy_from created_time creatives filename hash height id is_associated_creatives_in_adgroups
        name original_height original_width owner_business permalink_url status updated_time url url_128 width
    """,
    "advideos": """
        ad_breaks ad_placements_validation_only admin_creator application_id asked_fun_fact_prompt_id audio_isrc
        audio_story_wave_animation_handle backdated_time backdated_time_granularity boost_eligibility_info
        chunk_session_id composer_entry_picker composer_entry_point composer_entry_time composer_session_events_log
        composer_session_id composer_source_surface composer_type container_type content_category content_tags copyright
        copyright_check_information copyright_monitoring_status created_time creative_folder_id creative_tools
        custom_labels description edit_description_spec embed_html embeddable end_offset event expiration
        fbuploader_video_file_chunk file_size file_url filename filepath fisheye_video_cropped format formatting fov
        from front_z_rotation fun_fact_prompt_id fun_fact_toastee_id guide guide_enabled icon id initial_heading
        initial_pitch instant_game_entry_point_data is_ai_generated is_boost_intended is_crosspost_video
        is_crossposting_eligible is_episode is_group_linking_post is_instagram_eligible is_partnership_ad
        is_reference_only is_voice_clip length live_audience_count live_status location_source_id music_video_copyright
        name og_action_type_id og_icon_id og_object_id og_phrase og_suggestion_mechanism original_fov
        original_projection_type partnership_ad_ad_code permalink_url picture place post_id post_views
        premiere_living_room_status privacy publish_event_id published referenced_sticker_id replace_audio_status
        replace_video_id scheduled_publish_time selected_audio_spec slideshow_spec source source_instagram_media_id
        spherical start_offset status swap_mode text_format_metadata thumb time_since_original_post title
        transcode_setting_properties universal_video_id unpublished_content_type updated_time upload_phase
        upload_session_id upload_setting_properties validation_ad_placements video_file_chunk video_id video_id_original
        video_start_time_ms video_state views waterfall_id
    """,
    "activities": """
        actor_id actor_name application_id application_name date_time_in_timezone event_time event_type extra_data
        object_id object_name object_type tool translated_event_type
    """,
}
FIELDS = {edge: frozenset(names.split()) for edge, names in _NAMES.items()}
"""The fields of an account, and of the items at each edge: those of the SDK's classes (facebook_business 26.0.3)."""
_EDGES_BY_DIGIT = {"4": "adcreatives", "5": "customconversions", "6": "customaudiences", "8": "advideos"}
_FEW = 2
_SINCE = int(datetime.combine(FOUNDED, datetime.min.time(), UTC).timestamp())


def edge_fields(edge: str, names: list[str]) -> tuple[str, ...]:
    """Return the fields to show of an item: the requested ones, and `id` where there is one.

    Raises:
        GraphError: such an item has no such field.
    """
    unknown = [name for name in names if name not in FIELDS[edge]]
    if unknown:
        raise bad_parameter(f"Tried accessing nonexisting field ({unknown[0]}) on node type ({edge})")
    return tuple(dict.fromkeys([*names, *({"id"} & FIELDS[edge])]))


def list_items(dataset: Dataset, account: str, edge: str, today: date, params: Mapping[str, str]) -> list[Item]:
    """Return all items at an edge of an account; activities only those from `since` to `until`, days or times.

    Raises:
        GraphError: a parameter is not valid.
    """
    own = {"account_id": account.removeprefix("act_")}
    items = _LISTS[edge](dataset, account, today)
    if edge == "activities":
        since, until = (params.get(name, "") for name in ("since", "until"))
        return [item for item in items if _is_between(item["event_time"], since, until)]
    return [own | item for item in items]


def find_item(dataset: Dataset, name: str, today: date) -> tuple[str, str, Item] | None:
    """Return account, edge and item with the id `name`; None when there is no such item."""
    edge = _EDGES_BY_DIGIT.get(name[:1]) if len(name) == 18 and name.isdecimal() and name.isascii() else None
    account = None if edge is None else dataset.account_with_part(name[1:9])
    if edge is None or account is None:
        return None
    items = [item for item in list_items(dataset, account, edge, today, {}) if item["id"] == name]
    return (account, edge, items[0]) if items else None


def _is_between(moment: str, since: str, until: str) -> bool:
    return (not since or _iso(since) <= moment) and (not until or moment <= _iso(until))


def _iso(text: str) -> str:
    """Return a day or a time in seconds as the platform prints times.

    Raises:
        GraphError: it is neither.
    """
    try:
        moment = datetime.fromtimestamp(int(text), UTC) if text.isdecimal() else datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        raise bad_parameter("since and until must be days or seconds") from None
    return f"{moment:%Y-%m-%dT%H:%M:%S}+0000"


def _creatives(dataset: Dataset, account: str, today: date) -> list[Item]:
    return [
        {"id": creative, "name": f"Creative {creative[9:]}", "status": "ACTIVE", "object_type": "SHARE"}
        for creative in dict.fromkeys(creative_of(ad["id"]) for ad in list_objects(dataset, account, None, "ad", today))
    ]


def _activities(dataset: Dataset, account: str, today: date) -> list[Item]:
    return [
        {
            "event_time": ad["updated_time"],
            "date_time_in_timezone": ad["updated_time"],
            "event_type": "create_ad",
            "translated_event_type": "Ad created",
            "object_id": ad["id"],
            "object_name": f"Ad {ad['id'][9:]}",
            "object_type": "ADGROUP",
            "actor_id": "900000000000001",
            "actor_name": "Simulated user",
            "application_id": "0",
            "application_name": "Ads Manager",
            "extra_data": "{}",
        }
        for ad in sorted(list_objects(dataset, account, None, "ad", today), key=lambda it: it["updated_time"])
    ]


def _conversions(dataset: Dataset, account: str, _today: date) -> list[Item]:
    founded = time_of(FOUNDED)
    return [
        {
            "id": object_id("5", dataset.profile(account), index),
            "name": f"Conversion {index + 1}",
            "custom_event_type": "PURCHASE",
            "rule": "{}",
            "creation_time": founded,
            "first_fired_time": founded,
            "last_fired_time": founded,
            "is_archived": False,
            "is_unavailable": False,
            "retention_days": 0,
            "default_conversion_value": 0,
            "data_sources": [{"id": "700000000000001", "source_type": "PIXEL", "name": "Pixel"}],
        }
        for index in range(_FEW)
    ]


def _audiences(dataset: Dataset, account: str, _today: date) -> list[Item]:
    return [
        {
            "id": object_id("6", dataset.profile(account), index),
            "name": f"Audience {index + 1}",
            "subtype": "WEBSITE",
            "approximate_count_lower_bound": 1000,
            "approximate_count_upper_bound": 1100,
            "retention_days": 30,
            "time_created": _SINCE,
            "time_updated": _SINCE,
            "time_content_updated": _SINCE,
            "is_value_based": False,
            "delivery_status": {"code": 200, "description": "This audience is ready for use."},
            "operation_status": {"code": 200, "description": "Normal"},
        }
        for index in range(_FEW)
    ]


def _images(dataset: Dataset, account: str, _today: date) -> list[Item]:
    items = []
    for index in range(dataset.profile(account).slots):
        digest = hashlib.sha256(f"{account}:{index}".encode()).hexdigest()[:32]
        size = {"width": 1080, "height": 1080, "original_width": 1080, "original_height": 1080}
        times = {"created_time": time_of(FOUNDED), "updated_time": time_of(FOUNDED)}
        own = {"id": f"{account.removeprefix('act_')}:{digest}", "hash": digest, "name": f"Image {index + 1}.png"}
        items.append({**own, **size, **times, "status": "ACTIVE", "creatives": []})
    return items


def _videos(dataset: Dataset, account: str, _today: date) -> list[Item]:
    return [
        {
            "id": object_id("8", dataset.profile(account), index),
            "title": f"Video {index + 1}",
            "length": 15.0,
            "views": 0,
            "published": True,
            "created_time": time_of(FOUNDED),
            "updated_time": time_of(FOUNDED),
            "status": {"video_status": "ready"},
        }
        for index in range(dataset.profile(account).slots)
    ]


_LISTS: dict[str, Callable[[Dataset, str, date], list[Item]]] = {
    "adcreatives": _creatives,
    "customconversions": _conversions,
    "customaudiences": _audiences,
    "adimages": _images,
    "advideos": _videos,
    "activities": _activities,
}
ACCOUNT_EDGES = frozenset(_LISTS)
