"""The tab *Flow*."""

from typing import Final

from adwarm.pages.tab import Tab

TABS: Final = (Tab("flow", "Flow", (), summary="What limits the calls, what waits, and what has failed."),)
