"""What ``python -m cht_sync check`` looks at, before a first run and at 3 a.m."""
