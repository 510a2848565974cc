"""The tab *Fatigue*."""

from typing import Final

from adwarm.pages.tab import Tab

TABS: Final = (Tab("fatigue", "Fatigue", (), summary="Which ads wear out."),)
