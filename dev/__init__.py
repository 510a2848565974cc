"""The local stack: the demo, and a whole Airflow on one machine to try the package out. Not part of the wheel."""
