"""Turns opens into the features that a forecast is made from."""
