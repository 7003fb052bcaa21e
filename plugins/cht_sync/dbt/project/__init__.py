"""A dbt project: where it comes from, what is in it, and what of it is chosen."""
