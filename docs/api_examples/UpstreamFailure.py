from adwarm.testing import UpstreamFailure

failures = frozenset({UpstreamFailure.UNREACHABLE, UpstreamFailure.THROTTLED})
assert UpstreamFailure.TOKEN_DEAD not in failures
