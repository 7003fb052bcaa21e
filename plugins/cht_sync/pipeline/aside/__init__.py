"""What runs in dbt's own process during a rebuild; it imports nothing of Airflow, so that it starts quickly."""
