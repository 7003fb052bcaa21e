"""What every task does when it begins, fails or succeeds: callbacks of Airflow."""
