"""The tables of the copy: documents, checkpoints, quarantine, the ledger of runs. It knows nothing of HTTP."""
