"""The tab *Now*."""

from typing import Final

from adwarm.pages.tab import Tab

TABS: Final = (Tab("now", "Now", (), summary="Is the cache warm, what does it cost, and is anything stuck?"),)
