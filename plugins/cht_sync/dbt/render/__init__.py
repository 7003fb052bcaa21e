"""Draws models, data tests and snapshots as tasks."""
