from adwarm import Denied

error = Denied("the token may not read this account", account_id="act_1")
assert error.account_id == "act_1"
