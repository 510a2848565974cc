"""Checks a log before anything else: what is read of it, what is not and why, and what a forecast could learn."""
