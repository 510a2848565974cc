"""The fields that an insights query may name: those with figures, those with a constant value, and those left empty.

Names are those of the platform's own list (AdsInsights.Field of facebook_business 26.0.3).
"""

from graph_simulator.figures import ACTION_LISTS, ATTRIBUTION_SETTINGS, COUNTS, RATIOS, RESULT_FIELDS
from graph_simulator.levels import FOUNDED

NAME_FIELDS = frozenset({
    "account_id",
    "account_name",
    "account_currency",
    "campaign_id",
    "campaign_name",
    "adset_id",
    "adset_name",
    "ad_id",
    "ad_name",
    "created_time",
    "updated_time",
})
DATE_FIELDS = frozenset({"date_start", "date_stop"})
ALWAYS = frozenset({"impressions", "clicks", "spend"})
OBJECTIVES = {"sales": "OUTCOME_SALES", "leads": "OUTCOME_LEADS", "traffic": "OUTCOME_TRAFFIC"}
OPTIMIZATION_GOALS = {"sales": "OFFSITE_CONVERSIONS", "leads": "OFFSITE_CONVERSIONS", "traffic": "LINK_CLICKS"}
CONSTANTS: dict[str, tuple[str | dict[str, str], str]] = {
    "attribution_setting": ({name: name for name in ATTRIBUTION_SETTINGS}, "account_id"),
    "canvas_avg_view_percent": ("0", "account_id"),
    "canvas_avg_view_time": ("0", "account_id"),
    "social_spend": ("0", "account_id"),
    "objective": (OBJECTIVES, "campaign_id"),
    "buying_type": ("AUCTION", "campaign_id"),
    "adset_start": (f"{FOUNDED}T00:00:00+0000", "adset_id"),
    "optimization_goal": (OPTIMIZATION_GOALS, "adset_id"),
    "quality_ranking": ("AVERAGE", "ad_id"),
    "engagement_rate_ranking": ("AVERAGE", "ad_id"),
    "conversion_rate_ranking": ("UNKNOWN", "ad_id"),
}
"""The value of a field, and the id field that an object needs to have it: a ranking is only on rows of ads.

Several values are by the object's goal, or by the attribution setting of the query.
"""

EMPTY = frozenset({
    "ad_click_actions", "ad_impression_actions", "adset_end", "advanced_actions_28d_view",
    "advanced_reach_1d_lookback", "advanced_reach_28d_lookback", "advanced_reach_7d_lookback", "age_targeting",
    "aggregated_play_time_per_reach", "anchor_event_attribution_setting", "anchor_events_performance_indicator",
    "auction_bid", "auction_competitiveness", "auction_max_competitor_bid", "average_purchases_conversion_value",
    "catalog_segment_actions", "catalog_segment_value", "catalog_segment_value_mobile_purchase_roas",
    "catalog_segment_value_omni_purchase_roas", "catalog_segment_value_website_purchase_roas",
    "configurable_attribution_action", "configurable_attribution_actionvalue", "configurable_audience_overlap_reach",
    "configurable_audience_overlap_with_conv_action", "configurable_audience_overlap_with_conv_converters",
    "configurable_audience_overlap_with_conv_exposure_cost",
    "configurable_audience_overlap_with_conv_exposure_impressions",
    "configurable_audience_overlap_with_conv_exposure_reach", "configurable_creative_format_performance_adset_count",
    "configurable_creative_format_performance_clicks", "configurable_creative_format_performance_conversions",
    "configurable_creative_format_performance_converters", "configurable_creative_format_performance_impressions",
    "configurable_creative_format_performance_spend", "configurable_placement_ptc_conversions",
    "configurable_placement_ptc_converters", "configurable_placement_ptc_reach",
    "configurable_reachbyfrequency_action", "configurable_reachbyfrequency_converters_count",
    "configurable_reachbyfrequency_impressions_cost", "configurable_reachbyfrequency_impressions_count",
    "configurable_reachbyfrequency_reach", "conversion_lead_rate", "conversion_leads",
    "converted_product_app_custom_event_fb_mobile_purchase",
    "converted_product_app_custom_event_fb_mobile_purchase_value", "converted_product_offline_purchase",
    "converted_product_offline_purchase_value", "converted_product_omni_purchase",
    "converted_product_omni_purchase_values", "converted_product_quantity", "converted_product_value",
    "converted_product_website_pixel_purchase", "converted_product_website_pixel_purchase_value",
    "converted_promoted_product_app_custom_event_fb_mobile_purchase",
    "converted_promoted_product_app_custom_event_fb_mobile_purchase_value",
    "converted_promoted_product_offline_purchase", "converted_promoted_product_offline_purchase_value",
    "converted_promoted_product_omni_purchase", "converted_promoted_product_omni_purchase_values",
    "converted_promoted_product_quantity", "converted_promoted_product_value",
    "converted_promoted_product_website_pixel_purchase", "converted_promoted_product_website_pixel_purchase_value",
    "cost_per_6_sec_video_view", "cost_per_ad_click", "cost_per_conversion_lead", "cost_per_dda_countby_convs",
    "cost_per_message_delivered", "cost_per_mmp_credited_install", "cost_per_objective_result",
    "cost_per_one_thousand_ad_impression", "cost_per_unique_conversion", "creative_diversity_data",
    "creative_diversity_label", "creative_diversity_score", "creative_fatigue_summary", "creative_fatigued_ads",
    "creative_media_type", "dda_countby_convs", "dda_results", "estimated_ad_recall_rate",
    "estimated_ad_recall_rate_lower_bound", "estimated_ad_recall_rate_upper_bound",
    "estimated_ad_recallers_lower_bound", "estimated_ad_recallers_upper_bound", "gender_targeting",
    "instagram_profile_follow", "instagram_profile_visits", "instagram_upcoming_event_reminders_set",
    "instant_experience_clicks_to_open", "instant_experience_clicks_to_start", "instant_experience_outbound_clicks",
    "interactive_component_tap", "labels", "landing_page_view_actions_per_link_click",
    "landing_page_view_per_link_click", "landing_page_view_per_purchase_rate", "link_clicks_per_results", "location",
    "marketing_messages_click_rate_benchmark", "marketing_messages_cost_per_delivered",
    "marketing_messages_cost_per_link_btn_click", "marketing_messages_delivered", "marketing_messages_delivery_rate",
    "marketing_messages_link_btn_click", "marketing_messages_link_btn_click_rate",
    "marketing_messages_media_view_rate", "marketing_messages_phone_call_btn_click_rate",
    "marketing_messages_quick_reply_btn_click", "marketing_messages_quick_reply_btn_click_rate",
    "marketing_messages_read", "marketing_messages_read_rate", "marketing_messages_read_rate_benchmark",
    "marketing_messages_sent", "marketing_messages_spend", "marketing_messages_spend_currency", "messages_delivered",
    "messages_delivered_ctr", "mmp_credited_install", "mobile_app_purchase_roas", "msa_seller_budget",
    "multi_event_conversion_attribution_setting", "objective_result_rate", "objective_results",
    "onsite_conversion_messaging_detected_purchase_deduped", "opportunity_score_l4", "place_page_name",
    "playable_average_game_length", "playable_game_start_rate", "product_group_retailer_id", "product_retailer_id",
    "product_views", "purchase_per_landing_page_view", "purchases_per_link_click",
    "qualifying_question_qualify_answer_rate", "read_rate", "result_rate", "result_values_performance_indicator",
    "shop_clicks", "shops_assisted_purchases", "total_card_view", "total_postbacks",
    "total_postbacks_detailed", "total_postbacks_detailed_v4", "unique_conversions",
    "unique_video_continuous_2_sec_watched_actions", "unique_video_view_15_sec", "video_6_sec_watched_actions",
    "video_view_per_impression", "wish_bid",
})  # fmt: skip
"""Fields that no simulated ad has. The platform accepts their names and leaves out a metric without a value."""

FIELDS = (
    NAME_FIELDS
    | DATE_FIELDS
    | {"spend"}
    | set(COUNTS)
    | set(RATIOS)
    | set(ACTION_LISTS)
    | RESULT_FIELDS
    | set(CONSTANTS)
    | EMPTY
)
