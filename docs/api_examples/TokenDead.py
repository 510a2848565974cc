from adwarm import TokenDead, Transient

error = TokenDead("the access token has expired; renew it in the connection")
assert not isinstance(error, Transient)  # nothing retries it
