from adwarm import Account

account = Account("act_1", data_zone="America/New_York", reader_zone="Europe/Berlin", currency="USD")
assert account.status == "active"
