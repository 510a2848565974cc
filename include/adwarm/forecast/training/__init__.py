"""Trains forecasts, compares them on days they have not seen, and chooses one."""
