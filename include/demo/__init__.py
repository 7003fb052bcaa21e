"""Embedded servers, a generator of CHT documents and a census of them, for the demo and the tests."""
