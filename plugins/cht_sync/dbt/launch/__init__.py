"""dbt in processes of its own, seen from the tasks that start them."""
