"""The tab *Actions*."""

from typing import Final

from adwarm.pages.tab import Tab

TABS: Final = (Tab("actions", "Actions", (), summary="What you can do, and what was done."),)
