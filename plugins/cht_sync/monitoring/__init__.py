"""What is wrong: read once, judged once, and told alike by the status page, alerts and metrics."""
