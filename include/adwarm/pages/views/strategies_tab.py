"""The tab *Strategies*."""

from typing import Final

from adwarm.pages.tab import Tab

TABS: Final = (Tab("strategies", "Strategies", (), summary="Reports that are kept warm whatever the forecast says."),)
