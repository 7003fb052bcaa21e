"""Sends one message when a problem begins and one when it is resolved."""
