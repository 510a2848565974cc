"""Runs the package on one machine: the demo, and a whole Airflow for trying it out."""
