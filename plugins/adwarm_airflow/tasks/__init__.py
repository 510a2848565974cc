"""What the tasks of the package's DAGs do, one function each. Imported inside tasks, never while a DAG is parsed."""
