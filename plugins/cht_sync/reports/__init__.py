"""Batch analytics upon the models."""
