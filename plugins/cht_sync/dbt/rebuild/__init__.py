"""Rebuilds the models that a deployment changed in staging schemas, and swaps them in in one transaction."""
