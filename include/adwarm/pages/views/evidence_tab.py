"""The tab *Evidence*."""

from typing import Final

from adwarm.pages.tab import Tab

TABS: Final = (Tab("evidence", "Evidence", (), summary="How good the forecast is, and what warming gains."),)
