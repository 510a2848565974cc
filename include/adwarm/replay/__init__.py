"""Replays an access log: what a warming policy would have fetched, served and wasted, without look-ahead."""
