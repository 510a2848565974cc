"""Plays an access log back: what a warming policy would have fetched, served and wasted, with no look ahead."""
