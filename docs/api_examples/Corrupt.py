from adwarm import AdwarmError, Corrupt

error = Corrupt("the stored bytes do not match their checksum")
assert isinstance(error, AdwarmError)
