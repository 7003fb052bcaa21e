"""The one error of the demo that is meant to be read by its user."""


class DemoError(RuntimeError):
    """Says in one sentence what the demo cannot do, because of which setting, and the remedy."""
