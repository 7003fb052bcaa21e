"""What runs in dbt's own processes; nothing of Airflow is imported: they start quickly and hold none of its secrets."""
