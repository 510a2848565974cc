from datetime import UTC, datetime, timedelta

from adwarm import Throttled, Transient

until = datetime.now(UTC) + timedelta(minutes=5)
error = Throttled("too many calls", scope="account:act_1", until=until)
assert isinstance(error, Transient)
