"""Every environment variable of the project, read and checked in one place."""
