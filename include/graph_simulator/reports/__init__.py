"""Asynchronous reports: how one run goes (`job`), and the runs there are (`desk`)."""
