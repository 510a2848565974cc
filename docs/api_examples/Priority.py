from adwarm import Priority

assert Priority.parse("critical") is Priority.CRITICAL
