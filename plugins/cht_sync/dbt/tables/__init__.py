"""The tables that remember versions, runs, results and tests of the models."""
