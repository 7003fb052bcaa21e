"""Builds the models that a deployment changed beside those in use, and swaps them in one transaction."""
