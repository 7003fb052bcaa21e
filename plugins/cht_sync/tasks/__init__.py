"""The small tasks of the DAGs."""
