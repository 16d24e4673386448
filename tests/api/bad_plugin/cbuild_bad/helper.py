"""Imported under a computed name."""

SCALE = 2
