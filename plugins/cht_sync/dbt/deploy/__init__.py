"""A deployment: a version is built, proven and switched to."""
