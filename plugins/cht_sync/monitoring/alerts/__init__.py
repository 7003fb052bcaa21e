"""Tells people once when something goes wrong, and once when it is well again."""
