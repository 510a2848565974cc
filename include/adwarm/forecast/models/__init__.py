"""Forecast models and the calibration of their probabilities."""
