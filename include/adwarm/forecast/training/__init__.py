"""Trains forecasts, evaluates them on held-out days, and promotes the best."""
