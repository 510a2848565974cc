from adwarm.testing import NetworkFaults

slow = NetworkFaults(latency_seconds=0.3, bytes_per_second=50_000)
broken = NetworkFaults(loss=0.1, reset=0.1, truncation=0.1, after_bytes=500)
assert slow.loss == 0
assert broken.latency_seconds == 0
