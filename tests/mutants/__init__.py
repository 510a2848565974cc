"""Mutation testing of the rules that decide: `make mutants`."""
