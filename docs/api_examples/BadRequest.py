from datetime import UTC, datetime

from adwarm import BadRequest, resolve_window

try:
    resolve_window("last_fortnight", "UTC", datetime.now(UTC))
except BadRequest as error:
    print(error)  # names the value and what would be accepted
