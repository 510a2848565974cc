"""Starts every benchmark and set of faults on a tiny input, so that none stops working unnoticed."""
