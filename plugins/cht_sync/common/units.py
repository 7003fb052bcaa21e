"""Sizes."""

from __future__ import annotations

MEGABYTE = 1024 * 1024
