"""A run of the models, and what is looked at when each has ended."""
