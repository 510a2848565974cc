import numpy as np

from adwarm import SimplePolicy


class OpenedYesterday(SimplePolicy):
    """Warms what was opened in the last 24 hours. `adwarm replay LOG --policy mymodule:OpenedYesterday` replays it."""

    name = "opened-yesterday"

    def warm_values(self, at, history, timing):
        recent = history.since(at - 86_400_000_000)
        return np.bincount(recent.key, minlength=history.key_count).astype(float)
