from adwarm import Transient

error = Transient("the platform is not available", retry_after=30)
assert error.retry_after == 30
