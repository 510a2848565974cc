"""The tabs of the page, in the order of the navigation."""

from typing import Final

from adwarm.pages.tab import Tab
from adwarm.pages.views import (
    actions_tab,
    ad_page,
    evidence_tab,
    fatigue_tab,
    flow_tab,
    now_tab,
    plan_tab,
    strategies_tab,
)

TABS: Final[tuple[Tab, ...]] = (
    *now_tab.TABS,
    *plan_tab.TABS,
    *evidence_tab.TABS,
    *flow_tab.TABS,
    *fatigue_tab.TABS,
    *ad_page.TABS,
    *strategies_tab.TABS,
    *actions_tab.TABS,
)
