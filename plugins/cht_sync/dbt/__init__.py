"""The dbt side: which project is used, how it is deployed, and how its models become tasks."""
