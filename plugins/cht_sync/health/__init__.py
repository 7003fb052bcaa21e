"""What is wrong, found once for the status page, alerts and metrics."""
