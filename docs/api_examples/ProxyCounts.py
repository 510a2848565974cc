import random

from adwarm.testing import FaultProxy, ProxyCounts

with FaultProxy(("127.0.0.1", 8900), random.Random(1)) as proxy:
    assert proxy.counts() == ProxyCounts()
