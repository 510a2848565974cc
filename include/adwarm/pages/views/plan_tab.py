"""The tab *Plan*."""

from typing import Final

from adwarm.pages.tab import Tab

TABS: Final = (Tab("plan", "Plan", (), summary="What is warmed next, and why."),)
