"""Rehearses each page of the runbook: makes the incident for real, and compares what the commands print.

`make rehearse` checks the pages; `python -m tests.rehearsal` writes the output of the commands into them.
"""
