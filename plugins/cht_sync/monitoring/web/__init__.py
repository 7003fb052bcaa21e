"""The status page: a FastAPI application that Airflow's API server serves."""
