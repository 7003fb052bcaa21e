"""The dbt side: which project is used, how it is installed, and how its models become tasks."""
