"""The routes of the read API, a module for each subject."""
