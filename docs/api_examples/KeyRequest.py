from adwarm import KeyRequest, ReportKey

request = KeyRequest(ReportKey("act_1", "last_7d"))
print(request.key)
