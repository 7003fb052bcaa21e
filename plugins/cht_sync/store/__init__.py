"""The tables of the copy and their migrations: documents, checkpoints, quarantine, runs. It knows nothing of HTTP."""
