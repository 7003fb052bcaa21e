"""The tasks that run dbt or watch it."""
